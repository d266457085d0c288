//! Where components run: one engine for each contract, fresh instances, bounded time, memory, stack and output.
//!
//! - [`Sandbox`]: an engine and its pool, sized for one contract's components; [`trial`] tries a component out.
//! - [`Ticker`]: the thread that moves the engines' epochs; [`pause`] says how a guest makes way at each.
//! - [`SandboxFailure`] names what went wrong, and [`FailureCounts`] counts it; [`MemoryLimit`] bounds a store.
//! - [`CompiledCache`] and [`CompiledFunctions`]: compiled code on disk, in a folder that must be this user's alone;
//!   [`FilesInUse`] and [`keep_pruning`] remove what nobody used for long.
//! - [`priority`]: threads that are less urgent than requests.
//!
//! These it exports. What it must never do: load compiled code that another user could have written, let a guest's end reach the process or
//! another guest, or hold a thread that serves for longer than a tick.

mod compiled;
mod engine;
mod failure;
mod functions;
mod memory;
pub mod priority;
mod prune;
mod ticker;

pub use compiled::{CompiledCache, LoadError, digest};
pub use engine::{Sandbox, Size, TRIAL_FUEL, TRIAL_TIME, pause, pause_time, trial};
pub use failure::{FailureCounts, SandboxFailure};
pub use functions::{CompiledFunctions, kept_functions};
pub use memory::MemoryLimit;
pub use prune::{FilesInUse, keep_pruning, mark_used};
pub use ticker::Ticker;
