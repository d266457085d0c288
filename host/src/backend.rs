//! What holds keys and does the operations with them. Neither components nor the gate's rules know which one serves.

mod hsm;
mod keystore;

pub use hsm::HsmBackend;
pub use keystore::{KeystoreBackend, Vault, VaultError};

use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{KeyManager, KeyMetadata};
use holdfast_gate::{ErrorName, Refusal};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// A future of a backend. An operation may have to wait for hardware.
pub type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// What an operation gave.
pub struct Served<T> {
    /// The result.
    pub value: T,
    /// Which key manager did it, for the audit record; `None` where none had to be asked.
    pub by: Option<Arc<str>>,
}

/// The keys of one key store, and what can be done with them.
///
/// Where it has to wait, a backend gives up at the `deadline` by itself, so that it knows what became of its work.
pub trait KeyBackend: Send + Sync {
    /// ekmVendor.
    fn vendor(&self) -> String;
    /// ekmFleetDetails: one to ten, as the background checks saw them last, at most a minute old (checklist O9).
    fn fleet(&self) -> Vec<KeyManager>;
    /// GetKeyMetadata.
    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, Served<KeyMetadata>>;
    /// Encrypts with the newest version of the key. The AAD is framed here, as it holds the metadata made here.
    fn encrypt<'a>(
        &'a self,
        key_id: &'a str,
        plaintext: &'a [u8],
        aad: &'a [u8],
        deadline: Instant,
    ) -> Done<'a, Served<Sealed>>;
    /// Decrypts what [`KeyBackend::encrypt`] has just made and compares with the plaintext. The key must be one that may
    /// decrypt: AWS's test client expects that a CDIV needs it.
    fn verify<'a>(
        &'a self,
        key_id: &'a str,
        made: &'a Sealed,
        framed_aad: &'a [u8],
        plaintext: &'a [u8],
        deadline: Instant,
    ) -> Done<'a, ()>;
    /// Decrypts.
    fn decrypt<'a>(
        &'a self,
        key_id: &'a str,
        inputs: &'a DecryptInputs,
        deadline: Instant,
    ) -> Done<'a, Served<Zeroizing<Vec<u8>>>>;
    /// Encrypts and decrypts with a test key, now; in the background, not for a request.
    fn check(&self);
    /// How many IVs each key manager that makes its own made wrong, by the key manager's name.
    fn bad_ivs(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

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
            BackendError::Locked(why) => {
                tracing::error!(%why, "the key store is locked");
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
            BackendError::Unavailable(why) => {
                tracing::error!(%why, "no key manager can serve");
                Refusal::new(ErrorName::DependencyTimeout, "no key manager can serve; see the proxy's log")
            }
            BackendError::Failed(why) => {
                tracing::error!(%why, "the key manager failed");
                Refusal::new(ErrorName::Internal, "the key manager failed; see the proxy's log")
            }
        }
    }
}

/// The answer of GetKeyMetadata for an AES-256 key.
fn metadata(encrypt: bool, decrypt: bool, enabled: bool) -> KeyMetadata {
    let usages = [(encrypt, "ENCRYPT"), (decrypt, "DECRYPT")];
    KeyMetadata {
        key_spec: "AES_256".into(),
        key_usage: usages.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).into()).collect(),
        enabled,
    }
}
