//! The audit log: one JSON record a line for every authenticated request, written before its answer leaves.

mod change;
mod error;
mod kept;
mod own;
mod record;
mod sink;
mod state;
mod tally;
mod writer;

pub use change::policy_change;
pub use error::AuditError;
pub use record::{Finished, record};
pub use tally::{Failures, Tally};
pub use writer::AuditLog;
