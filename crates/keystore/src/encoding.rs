//! The contents as bytes, and back. docs/keystore-format.md has the layout.
//!
//! There is one encoding for one content: names ascend, counts are exact, and nothing follows.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_secret::Secret;

use crate::contents::{Contents, Credential, KeyStore};
use crate::crypto::KEY_LEN;
use crate::key::{Key, MAX_IMPORTED_VERSIONS, MaterialKind, Status, Usage, Version};
use crate::name::{AccessKeyId, KeyId, KeyStoreName, NameError, SecretAccessKey};

const USAGE_ENCRYPT: u8 = 1;
const USAGE_DECRYPT: u8 = 2;

/// Why bytes are no contents. The offset counts from the start of the payload.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// They end too early.
    #[error("the contents end too early, at byte {0}")]
    Short(usize),
    /// Something stands where it can't.
    #[error("{what} at byte {offset} of the contents")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// A name that can't be one.
    #[error("{name} at byte {offset} of the contents")]
    Name {
        /// What is wrong with it.
        name: NameError,
        /// Where.
        offset: usize,
    },
}

/// The encoding, in memory that is locked and wiped.
pub fn encode(contents: &Contents) -> Secret {
    let mut len = 0;
    write(contents, &mut |bytes| len += bytes.len());
    Secret::with_len(len, |buffer| {
        let mut at = 0;
        write(contents, &mut |bytes| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        });
    })
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]);

// The casts of counts and lengths below can't cut anything off: Contents keeps its counts in range, names are short,
// and a key store can't have 2^32 keys in memory that a payload of at most 64 MiB came from.

fn write(contents: &Contents, sink: Sink) {
    sink(&(contents.key_stores.len() as u16).to_be_bytes());
    for (name, store) in &contents.key_stores {
        write_short(name.as_str().as_bytes(), sink);
        write_key(&store.test_key, sink);
        sink(&(store.keys.len() as u32).to_be_bytes());
        for (id, key) in &store.keys {
            write_short(id.as_str().as_bytes(), sink);
            write_key(key, sink);
        }
        sink(&(store.credentials.len() as u16).to_be_bytes());
        for (id, credential) in &store.credentials {
            write_short(id.as_str().as_bytes(), sink);
            write_short(credential.secret.expose(), sink);
            sink(&credential.created.to_be_bytes());
        }
    }
}

fn write_short(bytes: &[u8], sink: Sink) {
    sink(&[bytes.len() as u8]);
    sink(bytes);
}

fn write_key(key: &Key, sink: Sink) {
    let Usage { encrypt, decrypt } = key.usage;
    let usage = u8::from(encrypt) * USAGE_ENCRYPT + u8::from(decrypt) * USAGE_DECRYPT;
    let status = match key.status {
        Status::Disabled => 0,
        Status::Enabled => 1,
    };
    sink(&[usage, status]);
    sink(&key.created.to_be_bytes());
    sink(&(key.versions.len() as u16).to_be_bytes());
    for version in &key.versions {
        let kind = match version.kind {
            MaterialKind::Xaes256Gcm => 1,
            MaterialKind::ImportedAes256Gcm => 2,
        };
        sink(&version.number.to_be_bytes());
        sink(&[kind]);
        sink(&version.created.to_be_bytes());
        sink(version.material.expose());
    }
}

/// Reads an encoding. Never panics, and allocates in proportion to what it has read.
pub fn decode(bytes: &[u8]) -> Result<Contents, EncodingError> {
    let mut reader = Reader { bytes, offset: 0 };
    let mut key_stores = BTreeMap::new();
    let mut seen = Seen::default();
    for _ in 0..reader.u16()? {
        let name = reader.name(KeyStoreName::parse)?;
        let store = reader.key_store(&mut seen)?;
        reader.insert_ascending(&mut key_stores, name, store)?;
    }
    if reader.offset != bytes.len() {
        return Err(reader.invalid("something after the last key store"));
    }
    Ok(Contents { key_stores })
}

/// What must be unique in the whole file.
#[derive(Default)]
struct Seen<'a> {
    access_key_ids: BTreeSet<AccessKeyId>,
    secrets: BTreeSet<&'a [u8]>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn invalid(&self, what: &'static str) -> EncodingError {
        EncodingError::Invalid { what, offset: self.offset }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], EncodingError> {
        let end = self.offset.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(EncodingError::Short(self.bytes.len()))?;
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, EncodingError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, EncodingError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, EncodingError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, EncodingError> {
        self.array().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Result<&'a [u8], EncodingError> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    fn name<T>(&mut self, parse: fn(&str) -> Result<T, NameError>) -> Result<T, EncodingError> {
        let offset = self.offset;
        let text = str::from_utf8(self.short()?);
        let text = text.map_err(|_| EncodingError::Invalid { what: "a name that is no text", offset })?;
        parse(text).map_err(|name| EncodingError::Name { name, offset })
    }

    fn insert_ascending<K: Ord, V>(
        &self,
        map: &mut BTreeMap<K, V>,
        name: K,
        value: V,
    ) -> Result<(), EncodingError> {
        if map.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(self.invalid("a name out of order before what stands"));
        }
        map.insert(name, value);
        Ok(())
    }

    fn key_store(&mut self, seen: &mut Seen<'a>) -> Result<KeyStore, EncodingError> {
        let test_key = self.key()?;
        let mut keys = BTreeMap::new();
        for _ in 0..self.u32()? {
            let id = self.name(KeyId::parse)?;
            let key = self.key()?;
            self.insert_ascending(&mut keys, id, key)?;
        }
        let mut credentials = BTreeMap::new();
        for _ in 0..self.u16()? {
            let id = self.name(AccessKeyId::parse)?;
            let (secret, credential) = self.credential()?;
            if !seen.access_key_ids.insert(id.clone()) {
                return Err(self.invalid("an access key id of another key store before what stands"));
            }
            if !seen.secrets.insert(secret) {
                return Err(self.invalid("a secret access key of another credential before what stands"));
            }
            self.insert_ascending(&mut credentials, id, credential)?;
        }
        Ok(KeyStore { test_key, keys, credentials })
    }

    fn key(&mut self) -> Result<Key, EncodingError> {
        let usage = match self.u8()? {
            bits @ 0..=3 => Usage { encrypt: bits & USAGE_ENCRYPT != 0, decrypt: bits & USAGE_DECRYPT != 0 },
            _ => return Err(self.invalid("an unknown usage before what stands")),
        };
        let status = match self.u8()? {
            0 => Status::Disabled,
            1 => Status::Enabled,
            _ => return Err(self.invalid("an unknown status before what stands")),
        };
        let created = self.u64()?;
        let mut versions: Vec<Version> = Vec::new();
        for _ in 0..self.u16()? {
            let version = self.version()?;
            if version.number <= versions.last().map_or(0, |last| last.number) {
                return Err(self.invalid("a version out of order before what stands"));
            }
            versions.push(version);
        }
        let imported =
            versions.iter().filter(|version| version.kind == MaterialKind::ImportedAes256Gcm).count();
        if imported > MAX_IMPORTED_VERSIONS {
            return Err(self.invalid("too many imported versions before what stands"));
        }
        if versions.is_empty() || (usage.encrypt && imported == versions.len()) {
            return Err(self.invalid("a key without a version for its usage before what stands"));
        }
        Ok(Key { usage, status, created, versions })
    }

    fn version(&mut self) -> Result<Version, EncodingError> {
        let number = self.u32()?;
        let kind = match self.u8()? {
            1 => MaterialKind::Xaes256Gcm,
            2 => MaterialKind::ImportedAes256Gcm,
            _ => return Err(self.invalid("an unknown kind of material before what stands")),
        };
        let created = self.u64()?;
        let material = Secret::copy_from(self.take(KEY_LEN)?);
        Ok(Version { number, kind, created, material })
    }

    fn credential(&mut self) -> Result<(&'a [u8], Credential), EncodingError> {
        let offset = self.offset;
        let text = self.short()?;
        let secret = SecretAccessKey::parse(text).map_err(|name| EncodingError::Name { name, offset })?;
        Ok((text, Credential { secret, created: self.u64()? }))
    }
}

#[cfg(test)]
mod tests;
