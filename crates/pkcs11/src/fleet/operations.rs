//! What a fleet does for requests.

use super::{Fleet, Inner, sample_proxy};
use crate::catalog::{Key, Version, metadata_of, version_in};
use crate::date::today;
use crate::module::TAG_LEN;
use crate::request::{Iv, Operation};
use holdfast_gate::backend::BackendError;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDescription {
    /// Whether it encrypts.
    pub encrypt: bool,
    /// Whether it decrypts.
    pub decrypt: bool,
    /// Whether it is enabled, and today within its dates.
    pub enabled: bool,
}

/// What an encryption made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// 12 or 16 bytes.
    pub iv: Vec<u8>,
    /// 16 bytes.
    pub tag: Vec<u8>,
    /// 5 bytes, see docs/pkcs11.md.
    pub metadata: Vec<u8>,
    /// SHA-256 over the framed AAD, IV, ciphertext and tag before they were decrypted again, and what that gave; `None` where
    /// they weren't.
    pub verified: Option<[u8; 32]>,
    /// The HSM that served, by its name.
    pub hsm: Arc<str>,
}

impl Encrypted {
    /// What a decryption needs of it.
    pub fn sealed(&self) -> Sealed<'_> {
        let Encrypted { ciphertext, iv, tag, metadata, .. } = self;
        Sealed { ciphertext, iv, tag, metadata }
    }
}

/// What is decrypted.
#[derive(Clone, Copy)]
pub struct Sealed<'a> {
    /// The ciphertext without its tag.
    pub ciphertext: &'a [u8],
    /// The IV.
    pub iv: &'a [u8],
    /// The tag.
    pub tag: &'a [u8],
    /// The ciphertextMetadata; empty for none.
    pub metadata: &'a [u8],
}

/// What a decryption gave.
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The HSM that served, by its name.
    pub hsm: Arc<str>,
}

impl Fleet {
    /// What a key is. It asks no HSM.
    pub fn describe(&self, key_id: &str) -> Result<KeyDescription, BackendError> {
        let catalog = self.inner.catalog();
        let key = self.inner.key(&catalog, key_id)?;
        Ok(KeyDescription {
            encrypt: key.encrypting(today()).is_some(),
            decrypt: key.decrypts(),
            enabled: key.is_enabled(),
        })
    }

    /// The ids of all keys.
    pub fn key_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.inner.catalog().keys.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Encrypts with the newest version. `frame` makes the additional authenticated data of the ciphertextMetadata. With `verify`
    /// the HSM decrypts the result again, and it is compared; the key must be allowed to decrypt.
    pub async fn encrypt(
        &self,
        key_id: &str,
        plaintext: &[u8],
        frame: impl FnOnce(&[u8]) -> Vec<u8>,
        verify: bool,
        deadline: Instant,
    ) -> Result<Encrypted, BackendError> {
        let catalog = self.inner.catalog();
        let key = self.inner.key(&catalog, key_id)?;
        let version = key.to_encrypt()?;
        if verify && !key.to_decrypt().is_ok_and(|_| version.decrypt) {
            return Err(BackendError::Usage);
        }
        let metadata = metadata_of(version.number).to_vec();
        let aad = Arc::from(frame(&metadata));
        let data = Arc::new(Zeroizing::new(plaintext.to_vec()));
        let operation = if verify { Operation::EncryptVerified } else { Operation::Encrypt };
        let (answer, index) = self.inner.run(operation, version, None, aad, data, deadline).await?;
        let mut ciphertext = answer.data.to_vec();
        let tag = ciphertext.split_off(plaintext.len().min(ciphertext.len()));
        if tag.len() != TAG_LEN {
            return Err(BackendError::Failed("the HSM made a ciphertext of a wrong length".into()));
        }
        Ok(Encrypted {
            ciphertext,
            iv: answer.iv.bytes().to_vec(),
            tag,
            metadata,
            verified: answer.verified,
            hsm: self.inner.name(index),
        })
    }

    /// Decrypts. `aad` is the request's; `framed_aad` what the specification makes of it and the metadata.
    pub async fn decrypt(
        &self,
        key_id: &str,
        sealed: Sealed<'_>,
        aad: &[u8],
        framed_aad: &[u8],
        deadline: Instant,
    ) -> Result<Decrypted, BackendError> {
        let catalog = self.inner.catalog();
        let key = self.inner.key(&catalog, key_id)?.to_decrypt()?;
        let number = version_in(sealed.metadata);
        let named = number.map(|number| key.version(number));
        let by_hsm = match named {
            Some(Some(version)) if !version.decrypt => Err(BackendError::Usage),
            Some(Some(version)) => self.inner.decrypt(version, sealed, Arc::from(framed_aad), deadline).await,
            Some(None) => Err(self.inner.unknown_version()),
            None => Err(BackendError::InvalidCiphertext),
        };
        match by_hsm {
            // What names a version of ours is of our form: its AAD must not be read as another form's.
            Err(BackendError::InvalidCiphertext)
                if self.inner.settings.accept_aws_sample_proxy && !matches!(named, Some(Some(_))) =>
            {
                // The sample proxy knows no versions: what it made is of the first, so that a bogus ciphertext costs the same
                // however often the key was rotated.
                let Some(first) = key.versions.iter().find(|version| version.decrypt) else {
                    return Err(BackendError::InvalidCiphertext);
                };
                for framed in sample_proxy::frames(aad, sealed.metadata) {
                    match self.inner.decrypt(first, sealed, framed, deadline).await {
                        Err(BackendError::InvalidCiphertext) => {}
                        result => return result,
                    }
                }
                Err(BackendError::InvalidCiphertext)
            }
            result => result,
        }
    }
}

impl Inner {
    async fn decrypt(
        &self,
        version: &Version,
        sealed: Sealed<'_>,
        aad: Arc<[u8]>,
        deadline: Instant,
    ) -> Result<Decrypted, BackendError> {
        let iv = Iv::from_slice(sealed.iv).filter(|_| sealed.tag.len() == TAG_LEN);
        let iv = Some(iv.ok_or(BackendError::InvalidCiphertext)?);
        let data = Arc::new(Zeroizing::new([sealed.ciphertext, sealed.tag].concat()));
        let (answer, index) = self.run(Operation::Decrypt, version, iv, aad, data, deadline).await?;
        Ok(Decrypted { plaintext: answer.data, hsm: self.name(index) })
    }

    fn name(&self, index: usize) -> Arc<str> {
        Arc::clone(&self.hsms[index].name)
    }
}

impl Key {
    /// Dates don't disable a key: what was encrypted before is still decrypted. One that is to refuse after its end does.
    fn is_enabled(&self) -> bool {
        !self.disabled
    }

    fn to_encrypt(&self) -> Result<&Version, BackendError> {
        if self.disabled {
            return Err(BackendError::Disabled);
        }
        let today = today();
        match self.encrypting(today) {
            Some(version) => Ok(version),
            None if self.is_out_of_dates(today) => Err(BackendError::Disabled),
            None => Err(BackendError::Usage),
        }
    }

    fn to_decrypt(&self) -> Result<&Key, BackendError> {
        match (self.disabled, self.decrypts()) {
            (true, _) => Err(BackendError::Disabled),
            (_, false) => Err(BackendError::Usage),
            _ => Ok(self),
        }
    }
}
