//! What callers of a fleet are told of a fault, in the gate's words.

use crate::fault::Fault;
use crate::rv::Meaning;
use crate::uses::UseError;
use holdfast_gate::backend::BackendError;

impl Fault {
    /// Of the HSM with this name.
    pub(crate) fn told_of(&self, hsm: &str) -> BackendError {
        match (self, self.meaning()) {
            (Fault::Busy, _) => BackendError::Busy,
            (Fault::Timeout | Fault::Queued, _) => BackendError::Timeout,
            (_, Meaning::Altered) => BackendError::InvalidCiphertext,
            (_, Meaning::Usage) => BackendError::Usage,
            (_, Meaning::TooLong) => BackendError::TooLong("the input is longer than the HSM takes".into()),
            (_, Meaning::Unavailable) => BackendError::Unavailable(format!("{hsm}: {self}")),
            (_, Meaning::Ambiguous | Meaning::Failed) => BackendError::Failed(format!("{hsm}: {self}")),
        }
    }
}

impl From<UseError> for BackendError {
    fn from(error: UseError) -> BackendError {
        match error {
            UseError::Exhausted(_) => BackendError::Failed(error.to_string()),
            UseError::Unknown(_) | UseError::Unreserved => BackendError::Unavailable(error.to_string()),
        }
    }
}
