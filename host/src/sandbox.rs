//! Where components run: one engine for each contract, fresh instances, bounded time, memory, stack and output.

mod compiled;
mod engine;
mod failure;
mod memory;
mod ticker;

pub use compiled::{CompiledCache, LoadError, digest};
pub use engine::{Sandbox, Size, TRIAL_TIME, pause, trial};
pub(crate) use engine::{TRIAL_FUEL, pause_time};
pub use failure::{FailureCounts, SandboxFailure};
pub use memory::MemoryLimit;
pub use ticker::Ticker;
