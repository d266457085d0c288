//! The sealed software keystore as a backend, reread when its file changes.

use super::{BackendError, Done, KeyBackend, Made, Served};
use crate::config::{SealSource, SealSourceError};
use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{KeyManager, KeyMetadata};
use holdfast_keystore::operations;
use holdfast_keystore::{
    FileError, Key, KeystoreFile, OpenError, Opened, Seal, SecretAccessKey, SystemRandom,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// An opened keystore file, shared by the key stores that live in it.
pub struct Vault {
    file: KeystoreFile,
    /// Read again when it no longer opens the file.
    seal_source: SealSource,
    held: Mutex<Held>,
    current: RwLock<Arc<Opened>>,
}

struct Held {
    seal: Seal,
    opened: Opened,
}

/// Why the keystore can't be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file can't be read or opened.
    #[error("the keystore: {0}")]
    File(FileError),
    /// The configuration's seal can't be had.
    #[error("the keystore's seal: {0}")]
    Seal(#[from] SealSourceError),
    /// It was sealed anew, and the configuration's seal is still the old one.
    #[error(
        "the keystore was sealed anew, and the configuration's seal doesn't open it ({0}): put the new seal where \
         keystore.seal says, or change keystore.seal and restart"
    )]
    Resealed(FileError),
}

impl Vault {
    /// Opens the file with the seal from `seal_source`.
    pub fn open(file: KeystoreFile, seal_source: SealSource) -> Result<Arc<Vault>, VaultError> {
        let seal = seal_source.read()?;
        let opened = file.open(&seal).map_err(VaultError::File)?;
        let current = RwLock::new(Arc::new(opened.clone()));
        Ok(Arc::new(Vault { held: Mutex::new(Held { seal, opened }), current, file, seal_source }))
    }

    /// Takes a newer state of the file, if there is one, and says whether there was. Anything else than a newer state
    /// of the same keystore is refused, and what is held stays in use. A file that was sealed anew is opened with the
    /// seal that the configuration's place has by now.
    pub fn reload(&self) -> Result<bool, VaultError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut *held;
        let changed = match self.file.reload(&held.seal, &mut held.opened) {
            Err(error) if is_of_the_seal(&error) => {
                let seal = self.seal_source.read()?;
                let changed = self.file.reload(&seal, &mut held.opened).map_err(|error| {
                    if is_of_the_seal(&error) { VaultError::Resealed(error) } else { VaultError::File(error) }
                })?;
                held.seal = seal;
                changed
            }
            result => result.map_err(VaultError::File)?,
        };
        if changed {
            let opened = Arc::new(held.opened.clone());
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = opened;
        }
        Ok(changed)
    }

    /// Which state is held.
    pub fn generation(&self) -> u64 {
        self.current().info.generation
    }

    /// The file's path.
    pub fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// The credentials of a key store.
    pub fn credentials(&self, key_store: &str) -> Vec<(String, SecretAccessKey)> {
        let opened = self.current();
        let store = opened.contents.key_store(key_store);
        let credentials = store.into_iter().flat_map(holdfast_keystore::KeyStore::credentials);
        credentials.map(|(id, credential)| (id.as_str().to_owned(), credential.secret().clone())).collect()
    }

    /// Whether the keystore has this key store.
    pub fn has_key_store(&self, key_store: &str) -> bool {
        self.current().contents.key_store(key_store).is_some()
    }

    fn current(&self) -> Arc<Opened> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether another seal could open the file.
fn is_of_the_seal(error: &FileError) -> bool {
    matches!(error, FileError::Open { source: OpenError::WrongSeal(_) | OpenError::Seal(_), .. })
}

/// One key store's keys in a [`Vault`].
pub struct KeystoreBackend {
    vault: Arc<Vault>,
    key_store: String,
    /// As a key manager.
    name: Arc<str>,
    works: AtomicBool,
    /// When it was last checked, in milliseconds after `begun`, and 1 more; 0 for never.
    checked: AtomicU64,
    begun: Instant,
}

/// A check that is older than two intervals says nothing any more.
const OLDEST: Duration = Duration::from_secs(30);

impl KeystoreBackend {
    /// The keys of `key_store`. Unavailable until the first check.
    pub fn new(vault: Arc<Vault>, key_store: &str) -> KeystoreBackend {
        KeystoreBackend {
            vault,
            key_store: key_store.to_owned(),
            name: operations::KEY_MANAGER.into(),
            works: AtomicBool::new(false),
            checked: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    fn with_key<T>(
        &self,
        key_id: &str,
        use_key: impl FnOnce(&Key) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let opened = self.vault.current();
        let store = opened.contents.key_store(&self.key_store);
        use_key(store.and_then(|store| store.key(key_id)).ok_or(BackendError::KeyNotFound)?)
    }
}

impl KeystoreBackend {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Why it isn't `ACTIVE`.
    fn trouble(&self) -> Option<String> {
        let Some(checked) = self.checked.load(Ordering::Acquire).checked_sub(1) else {
            return Some("the keystore hasn't been checked yet".to_owned());
        };
        let age = Duration::from_millis(self.now().saturating_sub(checked));
        if age > OLDEST {
            return Some(format!(
                "the keystore was last checked {} s ago: its checks hang, see the host's log",
                age.as_secs()
            ));
        }
        let works = self.works.load(Ordering::Acquire);
        (!works).then(|| "the keystore can't encrypt and decrypt with its test key".to_owned())
    }

    fn served<T>(&self, result: Result<T, BackendError>) -> Result<Served<T>, BackendError> {
        result.map(|value| Served { value, by: Some(self.name.clone()) })
    }
}

/// The operations are done at once: nothing here waits.
impl KeyBackend for KeystoreBackend {
    fn vendor(&self) -> String {
        operations::VENDOR.into()
    }

    fn fleet(&self) -> Vec<KeyManager> {
        vec![operations::key_manager(self.trouble().is_none())]
    }

    fn troubles(&self) -> Vec<String> {
        self.trouble().into_iter().collect()
    }

    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, Served<KeyMetadata>> {
        let metadata = self.with_key(key_id, |key| Ok(operations::metadata(key)));
        Box::pin(std::future::ready(self.served(metadata)))
    }

    fn encrypt<'a>(
        &'a self,
        key_id: &'a str,
        plaintext: &'a [u8],
        aad: &'a [u8],
        verify: bool,
        _: Instant,
    ) -> Done<'a, Served<Made>> {
        let made =
            self.with_key(key_id, |key| operations::encrypt(key, plaintext, aad, verify, &mut SystemRandom));
        Box::pin(std::future::ready(self.served(made)))
    }

    fn decrypt<'a>(
        &'a self,
        key_id: &'a str,
        inputs: &'a DecryptInputs,
        _: Instant,
    ) -> Done<'a, Served<Zeroizing<Vec<u8>>>> {
        let opened = self.with_key(key_id, |key| operations::decrypt(key, inputs));
        Box::pin(std::future::ready(self.served(opened)))
    }

    fn check(&self) {
        let opened = self.vault.current();
        let store = opened.contents.key_store(&self.key_store);
        let works = store.is_some_and(|store| operations::works(store.test_key(), &mut SystemRandom));
        let before = self.works.swap(works, Ordering::AcqRel);
        self.checked.store(self.now() + 1, Ordering::Release);
        if !works {
            tracing::error!(
                key_store = self.key_store,
                "the keystore can't encrypt and decrypt with its test key"
            );
        } else if !before {
            tracing::info!(key_store = self.key_store, "the keystore encrypts and decrypts");
        }
    }
}
