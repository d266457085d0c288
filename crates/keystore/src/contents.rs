//! What a keystore holds: keys and credentials, by key store.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::collections::BTreeSet;

use holdfast_secret::Secret;

use crate::crypto::KEY_LEN;
use crate::key::{Key, MAX_IMPORTED_VERSIONS, MaterialKind, Status, Usage, Version};
use crate::name::{AccessKeyId, KeyId, KeyStoreName, SecretAccessKey};
use crate::random::Random;

mod error;

pub use error::ContentsError;

/// A credential that signs requests to one key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub(crate) secret: SecretAccessKey,
    pub(crate) created: u64,
}

impl Credential {
    /// The secret access key.
    pub fn secret(&self) -> &SecretAccessKey {
        &self.secret
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn created(&self) -> u64 {
        self.created
    }
}

/// The keys and credentials of one key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStore {
    pub(crate) test_key: Key,
    pub(crate) keys: BTreeMap<KeyId, Key>,
    pub(crate) credentials: BTreeMap<AccessKeyId, Credential>,
}

impl KeyStore {
    /// The key by its external id.
    pub fn key(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    /// All keys, ordered by id.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&KeyId, &Key)> {
        self.keys.iter()
    }

    /// The key for health checks. It has no external id, so that no request reaches it.
    pub fn test_key(&self) -> &Key {
        &self.test_key
    }

    /// The credential by its access key id.
    pub fn credential(&self, access_key_id: &str) -> Option<&Credential> {
        self.credentials.get(access_key_id)
    }

    /// All credentials, ordered by access key id.
    pub fn credentials(&self) -> impl ExactSizeIterator<Item = (&AccessKeyId, &Credential)> {
        self.credentials.iter()
    }
}

/// All that a keystore holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub(crate) key_stores: BTreeMap<KeyStoreName, KeyStore>,
}

/// The most key stores in one file, and the most credentials in one key store.
pub(crate) const MAX_COUNT_16: usize = u16::MAX as usize;

impl Contents {
    /// Nothing yet.
    pub fn new() -> Contents {
        Contents::default()
    }

    /// The key store by its name.
    pub fn key_store(&self, name: &str) -> Option<&KeyStore> {
        self.key_stores.get(name)
    }

    /// All key stores, ordered by name.
    pub fn key_stores(&self) -> impl ExactSizeIterator<Item = (&KeyStoreName, &KeyStore)> {
        self.key_stores.iter()
    }

    /// Adds an empty key store, with a test key. `now` is in seconds since 1970-01-01T00:00:00Z, here and below.
    pub fn create_key_store(
        &mut self,
        name: &KeyStoreName,
        now: u64,
        random: &mut (impl Random + ?Sized),
    ) -> Result<(), ContentsError> {
        if self.key_stores.contains_key(name) {
            return Err(ContentsError::KeyStoreExists(name.clone()));
        }
        if self.key_stores.len() == MAX_COUNT_16 {
            return Err(ContentsError::TooMany { what: "key stores in a keystore", max: MAX_COUNT_16 });
        }
        let test_key = new_key(Usage::BOTH, Version::generate(1, now, random)?);
        let key_store = KeyStore { test_key, keys: BTreeMap::new(), credentials: BTreeMap::new() };
        self.key_stores.insert(name.clone(), key_store);
        Ok(())
    }

    /// Removes a key store with all its keys and credentials.
    pub fn remove_key_store(&mut self, name: &KeyStoreName) -> Result<(), ContentsError> {
        self.key_stores.remove(name).map(drop).ok_or_else(|| ContentsError::NoKeyStore(name.clone()))
    }

    /// Adds an enabled key with a first version.
    pub fn create_key(
        &mut self,
        key_store: &KeyStoreName,
        id: &KeyId,
        usage: Usage,
        now: u64,
        random: &mut (impl Random + ?Sized),
    ) -> Result<(), ContentsError> {
        let keys = &mut self.key_store_mut(key_store)?.keys;
        if keys.contains_key(id) {
            return Err(ContentsError::KeyExists(key_store.clone(), id.clone()));
        }
        keys.insert(id.clone(), new_key(usage, Version::generate(1, now, random)?));
        Ok(())
    }

    /// Adds 32 bytes of AES-256-GCM material as a version that only decrypts, to an existing key or to a new one whose
    /// usage is to decrypt. The caller wipes its own copy.
    pub fn import_version(
        &mut self,
        key_store: &KeyStoreName,
        id: &KeyId,
        material: &[u8],
        now: u64,
    ) -> Result<u32, ContentsError> {
        if material.len() != KEY_LEN {
            return Err(ContentsError::MaterialLength(material.len()));
        }
        let keys = &mut self.key_store_mut(key_store)?.keys;
        let kind = MaterialKind::ImportedAes256Gcm;
        let version = |number| Version { number, kind, created: now, material: Secret::copy_from(material) };
        match keys.get_mut(id) {
            Some(key) => {
                if key.versions.iter().filter(|version| version.kind == kind).count() == MAX_IMPORTED_VERSIONS
                {
                    let what = "imported versions in a key";
                    return Err(ContentsError::TooMany { what, max: MAX_IMPORTED_VERSIONS });
                }
                add_version(key, |number| Ok(version(number)))
            }
            None => {
                keys.insert(id.clone(), new_key(Usage::DECRYPT, version(1)));
                Ok(1)
            }
        }
    }

    /// Adds a version, which encrypts from now on, and gives its number.
    pub fn rotate_key(
        &mut self,
        key_store: &KeyStoreName,
        id: &KeyId,
        now: u64,
        random: &mut (impl Random + ?Sized),
    ) -> Result<u32, ContentsError> {
        add_version(self.key_mut(key_store, id)?, |number| Ok(Version::generate(number, now, random)?))
    }

    /// Enables or disables a key.
    pub fn set_key_status(
        &mut self,
        key_store: &KeyStoreName,
        id: &KeyId,
        status: Status,
    ) -> Result<(), ContentsError> {
        self.key_mut(key_store, id)?.status = status;
        Ok(())
    }

    /// Changes what a key may be used for.
    pub fn set_key_usage(
        &mut self,
        key_store: &KeyStoreName,
        id: &KeyId,
        usage: Usage,
    ) -> Result<(), ContentsError> {
        let key = self.key_mut(key_store, id)?;
        if usage.encrypt && key.encrypting_version().is_none() {
            return Err(ContentsError::NothingToEncryptWith(id.clone()));
        }
        key.usage = usage;
        Ok(())
    }

    /// Destroys a key with all its versions: what they encrypted is lost. A file that is updated so also forgets them
    /// in its previous generation; backups don't.
    pub fn destroy_key(&mut self, key_store: &KeyStoreName, id: &KeyId) -> Result<(), ContentsError> {
        let keys = &mut self.key_store_mut(key_store)?.keys;
        keys.remove(id).map(drop).ok_or_else(|| ContentsError::NoKey(key_store.clone(), id.clone()))
    }

    /// Adds a credential that was made elsewhere.
    pub fn add_credential(
        &mut self,
        key_store: &KeyStoreName,
        access_key_id: &AccessKeyId,
        secret: SecretAccessKey,
        now: u64,
    ) -> Result<(), ContentsError> {
        for (id, credential) in self.key_stores.values().flat_map(|store| &store.credentials) {
            if id == access_key_id {
                return Err(ContentsError::AccessKeyIdInUse(access_key_id.clone()));
            }
            if credential.secret == secret {
                return Err(ContentsError::SecretInUse(access_key_id.clone()));
            }
        }
        let credentials = &mut self.key_store_mut(key_store)?.credentials;
        if credentials.len() == MAX_COUNT_16 {
            return Err(ContentsError::TooMany { what: "credentials in a key store", max: MAX_COUNT_16 });
        }
        credentials.insert(access_key_id.clone(), Credential { secret, created: now });
        Ok(())
    }

    /// Makes and adds a credential, and gives its access key id.
    pub fn create_credential(
        &mut self,
        key_store: &KeyStoreName,
        now: u64,
        random: &mut (impl Random + ?Sized),
    ) -> Result<AccessKeyId, ContentsError> {
        let (id, secret) = (AccessKeyId::generate(random)?, SecretAccessKey::generate(random)?);
        self.add_credential(key_store, &id, secret, now)?;
        Ok(id)
    }

    /// Removes a credential, unless it is the key store's last one.
    pub fn remove_spare_credential(
        &mut self,
        key_store: &KeyStoreName,
        access_key_id: &AccessKeyId,
    ) -> Result<(), ContentsError> {
        let credentials = &self.key_store_mut(key_store)?.credentials;
        if credentials.len() == 1 && credentials.contains_key(access_key_id) {
            return Err(ContentsError::LastCredential(key_store.clone(), access_key_id.clone()));
        }
        self.remove_credential(key_store, access_key_id)
    }

    /// Removes a credential.
    pub fn remove_credential(
        &mut self,
        key_store: &KeyStoreName,
        access_key_id: &AccessKeyId,
    ) -> Result<(), ContentsError> {
        let credentials = &mut self.key_store_mut(key_store)?.credentials;
        credentials
            .remove(access_key_id)
            .map(drop)
            .ok_or_else(|| ContentsError::NoCredential(key_store.clone(), access_key_id.clone()))
    }

    /// Whether anything secret of `old` is no longer here.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn lacks_a_secret_of(&self, old: &Contents) -> bool {
        let (here, there) = (self.secrets(), old.secrets());
        !there.is_subset(&here)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn secrets(&self) -> BTreeSet<&[u8]> {
        let mut secrets = BTreeSet::new();
        for store in self.key_stores.values() {
            for key in store.keys.values().chain([&store.test_key]) {
                secrets.extend(key.versions.iter().map(|version| version.material.expose()));
            }
            secrets.extend(store.credentials.values().map(|credential| credential.secret.expose()));
        }
        secrets
    }

    fn key_store_mut(&mut self, name: &KeyStoreName) -> Result<&mut KeyStore, ContentsError> {
        self.key_stores.get_mut(name).ok_or_else(|| ContentsError::NoKeyStore(name.clone()))
    }

    fn key_mut(&mut self, key_store: &KeyStoreName, id: &KeyId) -> Result<&mut Key, ContentsError> {
        let keys = &mut self.key_store_mut(key_store)?.keys;
        keys.get_mut(id).ok_or_else(|| ContentsError::NoKey(key_store.clone(), id.clone()))
    }
}

fn new_key(usage: Usage, first: Version) -> Key {
    Key { usage, status: Status::Enabled, created: first.created, versions: vec![first] }
}

fn add_version(
    key: &mut Key,
    make: impl FnOnce(u32) -> Result<Version, ContentsError>,
) -> Result<u32, ContentsError> {
    let too_many = ContentsError::TooMany { what: "versions in a key", max: MAX_COUNT_16 };
    if key.versions.len() == MAX_COUNT_16 {
        return Err(too_many);
    }
    let number = key.versions.last().map_or(0, |version| version.number).checked_add(1).ok_or(too_many)?;
    key.versions.push(make(number)?);
    Ok(number)
}

#[cfg(test)]
mod tests;
