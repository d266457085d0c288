//! What went wrong with one operation on one HSM.

use crate::module::{GcmError, ModuleError, TAG_LEN};
use crate::rv::{Breaker, CallError, Meaning, Repair};

const _: () = assert!(TAG_LEN == 16);

/// Why one HSM didn't do one operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A PKCS#11 function failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// It failed on a decryption, while the HSM decrypts what it made itself.
    #[error("{0}, while the HSM decrypts other ciphertexts")]
    Altered(CallError),
    /// The output hasn't the form that the settings say.
    #[error("{0}")]
    Form(String),
    /// The HSM made an IV of zeros.
    #[error("the HSM made an IV of zeros; no ciphertext was given out")]
    ZeroIv,
    /// The HSM made an IV that it had made before.
    #[error("the HSM made an IV twice; no ciphertext was given out")]
    RepeatedIv,
    /// The HSM used another IV than the host gave it.
    #[error("the HSM used another IV than it was given; no ciphertext was given out")]
    OtherIv,
    /// What the HSM made it doesn't decrypt to what it was made of.
    #[error("an encryption doesn't decrypt to its plaintext; the HSM or memory is faulty")]
    Unverified,
    /// The token has no key with the label.
    #[error("the token has no AES-256 key with the label")]
    NoKey,
    /// The label is another key's than when the version was found.
    #[error("the label is another key's than it was, so it isn't used")]
    OtherKey,
    /// Two keys have the label.
    #[error("the token has several keys with the label; give each its own")]
    AmbiguousLabel,
    /// Longer than can be passed on.
    #[error("the input is too long")]
    TooLong,
    /// No more can wait.
    #[error("the queue is full")]
    Busy,
    /// Time was over before a session was free.
    #[error("no session was free in time")]
    Queued,
    /// Time was over while the HSM worked.
    #[error("the HSM didn't answer in time")]
    Timeout,
    /// The module hangs, crashed or isn't connected.
    #[error("{0}")]
    Lost(String),
    /// The token can't be used.
    #[error("{0}")]
    Token(String),
    /// The user's PIN is locked, so no PIN is tried.
    #[error("the user's PIN is locked; the security officer has to set a new one")]
    Locked,
}

impl From<GcmError> for Fault {
    fn from(error: GcmError) -> Fault {
        match error {
            GcmError::Call(error) => Fault::Call(error),
            GcmError::Form(what) => Fault::Form(what.into()),
        }
    }
}

impl From<ModuleError> for Fault {
    fn from(error: ModuleError) -> Fault {
        Fault::Token(error.to_string())
    }
}

impl Fault {
    /// What is repaired before the operation is tried once more on the same HSM.
    pub(crate) fn repair(&self) -> Repair {
        match self {
            Fault::Call(error) => error.reaction().repair,
            _ => Repair::None,
        }
    }

    /// Whether another HSM is tried.
    pub(crate) fn elsewhere(&self) -> bool {
        match self {
            Fault::Call(error) => error.reaction().elsewhere,
            Fault::Altered(_) | Fault::TooLong => false,
            _ => true,
        }
    }

    /// What becomes of the HSM.
    pub(crate) fn breaker(&self) -> Breaker {
        match self {
            Fault::Call(error) => error.reaction().breaker,
            Fault::Altered(_)
            | Fault::NoKey
            | Fault::OtherKey
            | Fault::AmbiguousLabel
            | Fault::Busy
            | Fault::Queued
            | Fault::TooLong => Breaker::Keep,
            Fault::Timeout | Fault::Form(_) | Fault::Unverified => Breaker::Count,
            Fault::ZeroIv
            | Fault::RepeatedIv
            | Fault::OtherIv
            | Fault::Lost(_)
            | Fault::Token(_)
            | Fault::Locked => Breaker::Open,
        }
    }

    /// Whether the token has to be looked for again.
    pub(crate) fn loses_token(&self) -> bool {
        matches!(self, Fault::Lost(_) | Fault::Token(_) | Fault::Locked) || self.repair() == Repair::Token
    }

    /// Whether it is that the user's PIN is locked.
    pub(crate) fn is_locked(&self) -> bool {
        match self {
            Fault::Call(error) => error.code == cryptoki_sys::CKR_PIN_LOCKED,
            fault => *fault == Fault::Locked,
        }
    }

    /// What the caller is told.
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Fault::Call(error) => error.reaction().meaning,
            Fault::Altered(_) => Meaning::Altered,
            Fault::Lost(_)
            | Fault::Token(_)
            | Fault::Locked
            | Fault::Timeout
            | Fault::Queued
            | Fault::Busy => Meaning::Unavailable,
            Fault::TooLong => Meaning::TooLong,
            _ => Meaning::Failed,
        }
    }
}
