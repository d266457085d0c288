//! The keystore that a configuration names, opened for a command.

use holdfast_keystore::{
    AccessKeyId, Contents, ContentsError, Credential, Key, KeyId, KeyStore as StoredKeyStore, KeyStoreName,
    KeystoreFile, Opened, Seal, SystemRandom,
};

use super::{CommandError, when};
use crate::commands::KeyStoreChoice;
use crate::config::{Config, KeyStore};

/// One key store of a configuration, and its keys and credentials as they are now.
pub struct OpenedKeyStore {
    configured: KeyStore,
    file: KeystoreFile,
    seal: Seal,
    contents: Contents,
}

/// Why there is no key store to work on.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    #[error("{config} has no key store {name}; it has {known}")]
    Unknown { config: String, name: String, known: String },
    #[error("{config} has several key stores; choose one by --key-store: {known}")]
    Several { config: String, known: String },
}

impl OpenedKeyStore {
    /// Reads the configuration, opens its keystore and takes the chosen key store.
    pub fn open(choice: &KeyStoreChoice) -> Result<Self, CommandError> {
        let config = Config::load(&choice.config.path())?;
        let configured = choose(&config, choice)?.clone();
        let seal = config.keystore.seal.read()?;
        let file = KeystoreFile::at(&config.keystore.path);
        let Opened { contents, .. } = file.open(&seal)?;
        Ok(Self { configured, file, seal, contents })
    }

    /// As the configuration has it.
    pub fn configured(&self) -> &KeyStore {
        &self.configured
    }

    pub fn name(&self) -> &KeyStoreName {
        &self.configured.name
    }

    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.stored().into_iter().flat_map(StoredKeyStore::keys)
    }

    pub fn credentials(&self) -> impl Iterator<Item = (&AccessKeyId, &Credential)> {
        self.stored().into_iter().flat_map(StoredKeyStore::credentials)
    }

    pub fn key(&self, id: &KeyId) -> Result<&Key, ContentsError> {
        let key = self.stored().and_then(|store| store.key(id.as_str()));
        key.ok_or_else(|| ContentsError::NoKey(self.name().clone(), id.clone()))
    }

    pub fn credential(&self, id: &AccessKeyId) -> Result<&Credential, ContentsError> {
        let credential = self.stored().and_then(|store| store.credential(id.as_str()));
        credential.ok_or_else(|| ContentsError::NoCredential(self.name().clone(), id.clone()))
    }

    /// Changes the file, durably; `change` gets the contents as they are by then, and the time in seconds since 1970.
    /// A key store that is new in the configuration comes into the keystore with its first change.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Contents, u64) -> Result<T, ContentsError>,
    ) -> Result<T, CommandError> {
        let name = self.configured.name.clone();
        let ((result, contents), _) = self.file.update(&self.seal, |contents| {
            let now = when::now();
            if contents.key_store(name.as_str()).is_none() {
                contents.create_key_store(&name, now, &mut SystemRandom)?;
            }
            let result = change(contents, now)?;
            Ok((result, contents.clone()))
        })?;
        self.contents = contents;
        Ok(result)
    }

    fn stored(&self) -> Option<&StoredKeyStore> {
        self.contents.key_store(self.name().as_str())
    }
}

pub fn choose<'a>(config: &'a Config, choice: &KeyStoreChoice) -> Result<&'a KeyStore, ChoiceError> {
    let known = || config.key_stores.iter().map(|store| store.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = || config.file.display().to_string();
    match (&choice.name, config.key_stores.as_slice()) {
        (Some(name), _) => config.key_store(name).ok_or_else(|| ChoiceError::Unknown {
            config: file(),
            name: name.clone(),
            known: known(),
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(ChoiceError::Several { config: file(), known: known() }),
    }
}
