//! What callers of a fleet are told.

use crate::fault::Fault;
use crate::rv::Meaning;
use crate::uses::UseError;

/// Why a fleet didn't do an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No HSM has such a key.
    #[error("the key is unknown")]
    KeyNotFound,
    /// The key's usage has not this operation.
    #[error("the key's usage does not include this operation")]
    Usage,
    /// The key is disabled, or today is outside of its dates.
    #[error("the key is disabled")]
    Disabled,
    /// Ciphertext, IV, tag, metadata or AAD are not what was made.
    #[error("the ciphertext or what belongs to it is altered")]
    InvalidCiphertext,
    /// Longer than the HSM takes.
    #[error("the input is longer than the HSM takes")]
    TooLong,
    /// All queues are full: 429.
    #[error("the HSMs have no room for another request")]
    Busy,
    /// Time was over: 503.
    #[error("the HSM didn't answer in time")]
    Timeout,
    /// No HSM can serve: 503.
    #[error("no HSM can serve: {0}")]
    Unavailable(String),
    /// The user's PIN is locked on every HSM: 400 InvalidStateException.
    #[error("the user's PIN is locked on every HSM; the security officer has to set a new one")]
    Locked,
    /// An HSM failed, or gave what can't be right: 500.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Of the HSM with this name.
    pub(crate) fn of(hsm: &str, fault: &Fault) -> Error {
        match (fault, fault.meaning()) {
            (Fault::Busy, _) => Error::Busy,
            (Fault::Timeout | Fault::Queued, _) => Error::Timeout,
            (_, Meaning::Altered) => Error::InvalidCiphertext,
            (_, Meaning::Usage) => Error::Usage,
            (_, Meaning::TooLong) => Error::TooLong,
            (_, Meaning::Unavailable) => Error::Unavailable(format!("{hsm}: {fault}")),
            (_, Meaning::Ambiguous | Meaning::Failed) => Error::Failed(format!("{hsm}: {fault}")),
        }
    }
}

impl From<UseError> for Error {
    fn from(error: UseError) -> Error {
        Error::Failed(error.to_string())
    }
}
