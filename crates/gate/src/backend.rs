//! What holds keys, as the gate sees it: what it gives back, and how it fails.

use sha2::{Digest as _, Sha256};

use crate::reply::{Health, KeyManager, KeyMetadata};
use crate::{ErrorName, Refusal};

/// What an encryption made.
pub struct Sealed {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// 12 or 16 bytes.
    pub iv: Vec<u8>,
    /// 16 bytes.
    pub tag: Vec<u8>,
    /// At most 20 bytes; empty for none.
    pub metadata: Vec<u8>,
}

/// An encryption that was done.
pub struct Made {
    /// What came of it.
    pub sealed: Sealed,
    /// What verifying it gave ([`Verified`]); `None` where it wasn't verified.
    pub verified: Option<[u8; 32]>,
}

/// SHA-256 over the framed AAD, IV, ciphertext and tag, as they are before the decryption that verifies them, and the plaintext
/// that it gives: by it one knows later that all of it is still the same, and what was meant.
pub struct Verified(Sha256);

impl Verified {
    /// Before the decryption.
    pub fn before(framed_aad: &[u8], iv: &[u8], ciphertext: &[u8], tag: &[u8]) -> Verified {
        let mut hash = Sha256::new();
        for part in [framed_aad, iv, ciphertext, tag] {
            hash.update(part);
        }
        Verified(hash)
    }

    /// After it.
    pub fn after(mut self, plaintext: &[u8]) -> [u8; 32] {
        self.0.update(plaintext);
        self.0.finalize().into()
    }
}

/// Why a backend didn't do an operation.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No such key in this key store.
    #[error("the key is unknown")]
    KeyNotFound,
    /// The key's usage has not this operation.
    #[error("the key's usage does not include this operation")]
    Usage,
    /// The key is disabled.
    #[error("the key is disabled")]
    Disabled,
    /// No key manager lets anybody in.
    #[error("the key store is locked: {0}")]
    Locked(String),
    /// Ciphertext, IV, tag, metadata or AAD are not what was made.
    #[error("the ciphertext or what belongs to it is altered")]
    InvalidCiphertext,
    /// Longer than is taken.
    #[error("{0}")]
    TooLong(String),
    /// No key manager has room for another request.
    #[error("the key managers have no room for another request")]
    Busy,
    /// No key manager answered before the deadline.
    #[error("the key manager didn't answer in time")]
    Timeout,
    /// No key manager can serve.
    #[error("no key manager can serve: {0}")]
    Unavailable(String),
    /// The key manager failed.
    #[error("the key manager failed: {0}")]
    Failed(String),
}

impl BackendError {
    /// Whether it is one that an operator must see in the log: what a client is told is less.
    pub fn is_of_the_key_manager(&self) -> bool {
        matches!(self, BackendError::Locked(_) | BackendError::Unavailable(_) | BackendError::Failed(_))
    }
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Refusal {
        match error {
            BackendError::KeyNotFound => {
                Refusal::new(ErrorName::KeyNotFound, "this key store has no key with this id")
            }
            BackendError::Usage => {
                Refusal::new(ErrorName::InvalidKeyUsage, "the key's usage does not include this operation")
            }
            BackendError::Disabled => {
                Refusal::new(ErrorName::InvalidState, "the key is disabled; enable it in the key manager")
            }
            BackendError::Locked(_) => {
                Refusal::new(ErrorName::InvalidState, "the key store is locked; unlock its key managers")
            }
            BackendError::InvalidCiphertext => Refusal::new(
                ErrorName::InvalidCiphertext,
                "ciphertext, initializationVector, authenticationTag, ciphertextMetadata or additionalAuthenticatedData is altered or not of this key",
            ),
            BackendError::TooLong(what) => Refusal::with(ErrorName::UnsupportedOperation, what),
            BackendError::Busy => Refusal::new(
                ErrorName::Throttling,
                "the key managers have no room for another request; try again",
            ),
            BackendError::Timeout => {
                Refusal::new(ErrorName::DependencyTimeout, "the key manager didn't answer in time")
            }
            BackendError::Unavailable(_) => {
                Refusal::new(ErrorName::DependencyTimeout, "no key manager can serve; see the proxy's log")
            }
            BackendError::Failed(_) => {
                Refusal::new(ErrorName::Internal, "the key manager failed; see the proxy's log")
            }
        }
    }
}

/// The answer of GetKeyMetadata for an AES-256 key.
pub fn aes_256(encrypt: bool, decrypt: bool, enabled: bool) -> KeyMetadata {
    let usages = [(encrypt, "ENCRYPT"), (decrypt, "DECRYPT")];
    KeyMetadata {
        key_spec: "AES_256".into(),
        key_usage: usages.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).into()).collect(),
        enabled,
    }
}

/// The answer of GetHealthStatus for key managers of `ekm_vendor`.
pub fn health(fleet_size: u32, ekm_vendor: String, fleet: Vec<KeyManager>) -> Health {
    Health {
        fleet_size,
        vendor: "Holdfast".into(),
        model: concat!("Holdfast ", env!("CARGO_PKG_VERSION")).into(),
        ekm_vendor,
        fleet,
    }
}
