//! A change of policy, and what the audit log is told of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::life::registry::Cause;

/// For what the audit log is told of a change. Nobody can look at the policies or change them meanwhile, so an audit log
/// that hangs must not be waited for.
pub(super) const TIME: Duration =
    if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(3) };

/// A change of policy, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose policy.
    pub key_store: String,
    /// The activation's number.
    pub activation: u64,
    /// What decides now; `None`: the configuration's policy.
    pub artefact: Option<String>,
    /// What brought it about.
    pub cause: Cause,
    /// Who.
    pub by: String,
}

/// What the audit log is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is about to be made.
    Coming(Change),
    /// It was told of, and wasn't made.
    NotMade {
        /// Which.
        change: Change,
        /// Why.
        reason: String,
    },
}

/// Writes into the audit log what becomes of changes.
pub type Record = Box<dyn Fn(Told) -> Recording + Send + Sync>;
/// The future of a [`Record`].
pub type Recording = std::pin::Pin<Box<dyn Future<Output = Result<(), RecordError>> + Send>>;

/// Why the audit log doesn't have a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It says so.
    #[error("{0}")]
    Refused(String),
    /// It says nothing.
    #[error(
        "the audit log didn't take the record within {} s; mend what it is written to, which hangs, and try again",
        TIME.as_secs()
    )]
    Late,
}
