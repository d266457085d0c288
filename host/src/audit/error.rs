//! Why there is no record.

/// Why a record isn't written. The request that it is for must be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Opening, writing or syncing failed.
    #[error(
        "the audit log {path} can't be written: {why}; free space or mend it, and it is used again by itself"
    )]
    Sink {
        /// Which.
        path: String,
        /// What the system says.
        why: String,
    },
    /// More waits than is kept.
    #[error("the audit log can't keep up; its disk is too slow for this rate or hangs")]
    Full,
    /// The log is closed.
    #[error("the audit log is closed")]
    Closed,
}
