//! A key and its two operations.

use holdfast_secret::Secret;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::{Aes256, Cipher, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::random::{Random, RandomError};
use crate::xaes;

/// The first byte of the ciphertext metadata: what follows is a version and the first half of an XAES-256-GCM nonce.
pub const METADATA_FORMAT: u8 = 1;

/// The length of the ciphertext metadata that [`Key::encrypt`] makes. The XKS specification allows 20 bytes.
pub const METADATA_LEN: usize = 1 + 4 + NONCE_LEN;

/// How many imported versions a key has at most: nothing in a ciphertext names one, so all are tried.
pub const MAX_IMPORTED_VERSIONS: usize = 8;

/// What a key may be used for. Neither is possible too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whether it encrypts.
    pub encrypt: bool,
    /// Whether it decrypts.
    pub decrypt: bool,
}

impl Usage {
    /// Encrypts and decrypts.
    pub const BOTH: Usage = Usage { encrypt: true, decrypt: true };
    /// Decrypts only.
    pub const DECRYPT: Usage = Usage { encrypt: false, decrypt: true };
}

/// Whether a key works at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what its usage says.
    Enabled,
    /// It does nothing until it is enabled again.
    Disabled,
}

/// What the material of a version is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialKind {
    /// XAES-256-GCM, made here.
    Xaes256Gcm,
    /// AES-256-GCM, imported. It only decrypts what was encrypted elsewhere.
    ImportedAes256Gcm,
}

/// One version of a key. Rotation adds a version; the older ones still decrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub(crate) number: u32,
    pub(crate) kind: MaterialKind,
    pub(crate) created: u64,
    /// [`KEY_LEN`] bytes.
    pub(crate) material: Secret,
}

impl Version {
    pub(crate) fn generate(
        number: u32,
        created: u64,
        random: &mut (impl Random + ?Sized),
    ) -> Result<Version, RandomError> {
        let material = Secret::try_with_len(KEY_LEN, |bytes| random.fill(bytes))?;
        Ok(Version { number, kind: MaterialKind::Xaes256Gcm, created, material })
    }

    /// Counted from 1, never reused.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What its material is for.
    pub fn kind(&self) -> MaterialKind {
        self.kind
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn created(&self) -> u64 {
        self.created
    }

    fn material(&self) -> Option<&[u8; KEY_LEN]> {
        self.material.expose().try_into().ok()
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub(crate) usage: Usage,
    pub(crate) status: Status,
    pub(crate) created: u64,
    /// By ascending number; never empty.
    pub(crate) versions: Vec<Version>,
}

/// What [`Key::encrypt`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// The second half of the XAES-256-GCM nonce.
    pub iv: [u8; NONCE_LEN],
    /// The authentication tag.
    pub tag: [u8; TAG_LEN],
    /// The format, the version, and the first half of the nonce: [`METADATA_LEN`] bytes.
    pub metadata: Vec<u8>,
}

/// Why a key didn't do an operation.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is disabled.
    #[error("the key is disabled")]
    Disabled,
    /// Its usage doesn't include the operation.
    #[error("the key's usage doesn't include this operation")]
    Usage,
    /// Ciphertext, IV, tag, metadata or AAD are not what this key made, or are altered.
    #[error("the ciphertext, its IV, tag, metadata or additional data is not what this key made")]
    InvalidCiphertext,
    /// The plaintext or the AAD is longer than GCM can take.
    #[error("the plaintext or additional data is too long for AES-GCM")]
    TooLong,
    /// A decryption of the fresh ciphertext doesn't give the plaintext: the machine is at fault.
    #[error(
        "a decryption of the new ciphertext doesn't give back the plaintext; suspect this machine's memory or processor"
    )]
    Verification,
    /// No nonce could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Key {
    /// What it may be used for.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether it works at all.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Its versions, oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version that encrypts: the newest that wasn't imported.
    pub fn encrypting_version(&self) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.kind == MaterialKind::Xaes256Gcm)
    }

    /// Encrypts under a fresh nonce. `frame` gets the ciphertext metadata and gives the whole AAD for the AEAD.
    pub fn encrypt(
        &self,
        plaintext: &[u8],
        frame: impl FnOnce(&[u8]) -> Vec<u8>,
        random: &mut (impl Random + ?Sized),
    ) -> Result<Encrypted, KeyError> {
        if self.status == Status::Disabled {
            return Err(KeyError::Disabled);
        }
        if !self.usage.encrypt {
            return Err(KeyError::Usage);
        }
        let version = self.encrypting_version().ok_or(KeyError::Usage)?;
        let material = version.material().ok_or(KeyError::Usage)?;

        let nonce: [u8; 2 * NONCE_LEN] = crate::random::array(random)?;
        let (mut context, mut iv) = ([0; NONCE_LEN], [0; NONCE_LEN]);
        context.copy_from_slice(&nonce[..NONCE_LEN]);
        iv.copy_from_slice(&nonce[NONCE_LEN..]);

        let mut metadata = Vec::with_capacity(METADATA_LEN);
        metadata.push(METADATA_FORMAT);
        metadata.extend_from_slice(&version.number.to_be_bytes());
        metadata.extend_from_slice(&context);

        let aad = frame(&metadata);
        let mut ciphertext = plaintext.to_vec();
        let tag = match xaes::message_cipher(material, &context).gcm_seal(&iv, &aad, &mut ciphertext) {
            Ok(tag) => tag,
            Err(_) => {
                drop(Zeroizing::new(ciphertext));
                return Err(KeyError::TooLong);
            }
        };
        Ok(Encrypted { ciphertext, iv, tag, metadata })
    }

    /// Decrypts. `framed_aad` is the whole AAD for the AEAD, in which the metadata is framed too.
    pub fn decrypt(
        &self,
        ciphertext: &[u8],
        iv: &[u8],
        tag: &[u8],
        metadata: &[u8],
        framed_aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if self.status == Status::Disabled {
            return Err(KeyError::Disabled);
        }
        if !self.usage.decrypt {
            return Err(KeyError::Usage);
        }
        self.open(ciphertext, iv, tag, metadata, framed_aad)
    }

    /// Decrypts what [`encrypt`](Key::encrypt) has just made, whatever the usage, and compares it with the plaintext in
    /// constant time. Gives what it decrypted to. The XKS specification asks for it before an answer with a CDIV.
    pub fn verify(
        &self,
        encrypted: &Encrypted,
        framed_aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Encrypted { ciphertext, iv, tag, metadata } = encrypted;
        match self.open(ciphertext, iv, tag, metadata, framed_aad) {
            Ok(decrypted) if bool::from(decrypted.ct_eq(plaintext)) => Ok(decrypted),
            _ => Err(KeyError::Verification),
        }
    }

    fn open(
        &self,
        ciphertext: &[u8],
        iv: &[u8],
        tag: &[u8],
        metadata: &[u8],
        framed_aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let tag: &[u8; TAG_LEN] = tag.try_into().map_err(|_| KeyError::InvalidCiphertext)?;
        let attempt = |cipher: Cipher| {
            let mut text = Zeroizing::new(ciphertext.to_vec());
            cipher.gcm_open(iv, framed_aad, &mut text, tag).ok().map(|()| text)
        };
        let own = || {
            let (material, context) = self.named_version(metadata)?;
            // XAES-256-GCM's nonce has 24 bytes, the IV is 12 of them.
            (iv.len() == NONCE_LEN).then(|| xaes::message_cipher(material, context)).and_then(attempt)
        };
        let imported = || {
            let imported =
                self.versions.iter().filter(|version| version.kind == MaterialKind::ImportedAes256Gcm);
            imported.filter_map(Version::material).find_map(|material| attempt(Cipher::new(material)))
        };
        own().or_else(imported).ok_or(KeyError::InvalidCiphertext)
    }

    /// The version that metadata of our own format names, and the first half of the nonce.
    fn named_version<'m>(&self, metadata: &'m [u8]) -> Option<(&[u8; KEY_LEN], &'m [u8; NONCE_LEN])> {
        let (format, rest) = metadata.split_first()?;
        let (number, context) = rest.split_first_chunk::<4>()?;
        let context: &[u8; NONCE_LEN] = context.try_into().ok()?;
        let number = u32::from_be_bytes(*number);
        let index = self.versions.binary_search_by_key(&number, |version| version.number).ok()?;
        let version = &self.versions[index];
        let ours = *format == METADATA_FORMAT && version.kind == MaterialKind::Xaes256Gcm;
        ours.then(|| version.material()).flatten().map(|material| (material, context))
    }
}

#[cfg(test)]
mod tests;
