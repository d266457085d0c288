//! What holds keys and does the operations with them. Neither components nor the gate's rules know which one serves.

mod keystore;

pub use keystore::{KeystoreBackend, Vault, VaultError};

use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{KeyManager, KeyMetadata};
use holdfast_gate::{ErrorName, Refusal};
use std::pin::Pin;
use zeroize::Zeroizing;

/// A future of a backend. An operation may have to wait for hardware.
pub type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// The keys of one key store, and what can be done with them.
pub trait KeyBackend: Send + Sync {
    /// ekmVendor.
    fn vendor(&self) -> &str;
    /// Which key manager serves, for the audit record.
    fn id(&self) -> &'static str;
    /// ekmFleetDetails: one to ten, as the background checks saw them last, at most a minute old (checklist O9).
    fn fleet(&self) -> Vec<KeyManager>;
    /// GetKeyMetadata.
    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, KeyMetadata>;
    /// Encrypts with the newest version of the key. The AAD is framed here, as it holds the metadata made here.
    fn encrypt<'a>(&'a self, key_id: &'a str, plaintext: &'a [u8], aad: &'a [u8]) -> Done<'a, Sealed>;
    /// Decrypts what [`KeyBackend::encrypt`] has just made and compares with the plaintext, whatever the key's usage.
    fn verify<'a>(
        &'a self,
        key_id: &'a str,
        made: &'a Sealed,
        framed_aad: &'a [u8],
        plaintext: &'a [u8],
    ) -> Done<'a, ()>;
    /// Decrypts.
    fn decrypt<'a>(&'a self, key_id: &'a str, inputs: &'a DecryptInputs) -> Done<'a, Zeroizing<Vec<u8>>>;
    /// Encrypts and decrypts with a test key, now; in the background, not for a request.
    fn check(&self);
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
    /// Ciphertext, IV, tag, metadata or AAD are not what was made.
    #[error("the ciphertext or what belongs to it is altered")]
    InvalidCiphertext,
    /// Longer than is taken.
    #[error("{0}")]
    TooLong(String),
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
            BackendError::InvalidCiphertext => Refusal::new(
                ErrorName::InvalidCiphertext,
                "ciphertext, initializationVector, authenticationTag, ciphertextMetadata or additionalAuthenticatedData is altered or not of this key",
            ),
            BackendError::TooLong(what) => Refusal::with(ErrorName::UnsupportedOperation, what),
            BackendError::Failed(why) => {
                tracing::error!(%why, "the key manager failed");
                Refusal::new(ErrorName::Internal, "the key manager failed; see the proxy's log")
            }
        }
    }
}
