//! What holds keys and does the operations with them. Neither components nor the gate's rules know which one serves.

mod hsm;
mod keystore;

pub use hsm::HsmBackend;
pub use keystore::{KeystoreBackend, Vault, VaultError};

use holdfast_gate::Refusal;
pub use holdfast_gate::backend::{BackendError, Made, Sealed};
use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{KeyManager, KeyMetadata};
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
    /// Why any of them isn't `ACTIVE`, with its name.
    fn troubles(&self) -> Vec<String>;
    /// GetKeyMetadata.
    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, Served<KeyMetadata>>;
    /// Encrypts with the newest version of the key. The AAD is framed here, as it holds the metadata made here. With `verify`
    /// the result is decrypted and compared, for which the key must be one that may decrypt: AWS's test client expects that
    /// a CDIV needs it.
    fn encrypt<'a>(
        &'a self,
        key_id: &'a str,
        plaintext: &'a [u8],
        aad: &'a [u8],
        verify: bool,
        deadline: Instant,
    ) -> Done<'a, Served<Made>>;
    /// Decrypts.
    fn decrypt<'a>(
        &'a self,
        key_id: &'a str,
        inputs: &'a DecryptInputs,
        deadline: Instant,
    ) -> Done<'a, Served<Zeroizing<Vec<u8>>>>;
    /// Encrypts and decrypts with a test key, now; in the background, not for a request.
    fn check(&self);
    /// How many operations each key manager's module failed in, mended or not, by the key manager's name.
    fn module_errors(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// Looks at once for what may have changed, in the background.
    fn look_again(&self) {}
    /// How many IVs each key manager that makes its own made wrong, by the key manager's name.
    fn bad_ivs(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// What a client is told of a failure, once the operator can read the rest of it.
pub fn refusal(error: BackendError) -> Refusal {
    if error.is_of_the_key_manager() {
        tracing::error!("{error}");
    }
    error.into()
}
