//! Sealed bytes: contents under a seal, and what can be said of them without it.

use holdfast_secret::Secret;
use sha2::{Digest, Sha256};

use crate::contents::Contents;
use crate::crypto::{Aes256, Cipher, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::encoding::{self, EncodingError};
pub use crate::id::KeystoreId;
use crate::random::{self, Random, RandomError};
use crate::seal::{Seal, SealError, SealParams};

const MAGIC: &[u8; 8] = b"HOLDFAST";
const FORMAT: u16 = 1;
const FLAG_ERASING: u8 = 1;
const CHECKSUM_LEN: usize = 32;

/// The most bytes of contents, encoded. A key takes about 100.
pub const MAX_CONTENTS_LEN: usize = 64 << 20;

/// More bytes than any sealed keystore has.
pub const MAX_SEALED_LEN: usize = MAX_CONTENTS_LEN + 1024;

/// What a sealed keystore says of itself. Trustworthy only after it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which keystore this is.
    pub id: KeystoreId,
    /// Which of its states. It grows with every change.
    pub generation: u64,
    /// How it is sealed.
    pub seal: SealParams,
    /// Something was destroyed, or the seal replaced, and the previous generation's file may still hold the old. The
    /// next change of the file finishes it.
    pub erasing: bool,
    /// The bytes of the contents, encoded.
    pub contents_len: usize,
    /// All bytes.
    pub sealed_len: usize,
    /// Whether the checksum is right. It tells damage; it proves nothing.
    pub checksum_ok: bool,
    /// The checksum itself, of these bytes and no others.
    pub checksum: [u8; CHECKSUM_LEN],
}

impl Info {
    /// What to remember elsewhere, so that an older state is recognised.
    pub fn anchor(&self) -> Anchor {
        Anchor { id: self.id, generation: self.generation }
    }
}

/// The newest known state of a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which keystore.
    pub id: KeystoreId,
    /// Its newest known generation.
    pub generation: u64,
}

impl Anchor {
    /// Refuses another keystore and an older generation.
    pub fn check(&self, found: &Info) -> Result<(), Refusal> {
        if found.id != self.id {
            return Err(Refusal::OtherKeystore { known: self.id, found: found.id });
        }
        if found.generation < self.generation {
            return Err(Refusal::Rollback { known: self.generation, found: found.generation });
        }
        Ok(())
    }
}

/// Why an intact keystore isn't taken in place of a known one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is older than what is known.
    #[error(
        "it is generation {found} and generation {known} is known already; put an old state back with \
         `holdfast keystore restore`, which makes it the newest"
    )]
    Rollback {
        /// The newest known generation.
        known: u64,
        /// What was found.
        found: u64,
    },
    /// It has the known generation and other bytes.
    #[error(
        "it has generation {generation} as what is known, but other bytes: two copies were changed separately"
    )]
    Forked {
        /// The generation of both.
        generation: u64,
    },
    /// It is another keystore.
    #[error("it is keystore {found}, not {known}")]
    OtherKeystore {
        /// The one that is known.
        known: KeystoreId,
        /// What was found.
        found: KeystoreId,
    },
}

/// Why bytes can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else.
    #[error("it is no Holdfast keystore")]
    NotAKeystore,
    /// Made by a newer version.
    #[error("it has format {0}, and this version reads format 1")]
    Format(u16),
    /// Cut off, or bytes changed by accident.
    #[error("it is damaged ({0}); restore a backup, or its previous generation")]
    Damaged(&'static str),
    /// The kind of seal doesn't fit, or the derivation failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The checksum is right and the data key doesn't open.
    #[error("it is intact, and this is the wrong {0} for it")]
    WrongSeal(crate::seal::SealKind),
    /// The seal is right and the contents don't open: somebody changed the bytes and the checksum.
    #[error("it was altered on purpose: its seal opens, and its contents aren't what was sealed")]
    Altered,
    /// What was sealed makes no sense to this version.
    #[error("what was sealed can't be read: {0}")]
    Encoding(#[from] EncodingError),
}

/// Why contents can't be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// Too many keys.
    #[error(
        "the contents have {0} bytes, and a keystore takes at most {MAX_CONTENTS_LEN}; use several keystores"
    )]
    TooLarge(usize),
    /// The kind of seal doesn't fit, or the derivation failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No key or nonce could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// AES-GCM failed. Not with lengths within the limit.
    #[error("AES-256-GCM failed")]
    Cipher,
}

/// An opened keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What it holds.
    pub contents: Contents,
    /// What it says of itself, authenticated.
    pub info: Info,
}

/// The parts of a header that a writer chooses.
#[derive(Clone, Debug)]
pub struct Label {
    /// Which keystore.
    pub id: KeystoreId,
    /// Which state of it.
    pub generation: u64,
    /// See [`Info::erasing`].
    pub erasing: bool,
    /// How it is sealed.
    pub params: SealParams,
}

/// Seals contents, under a new data key each time.
pub fn seal(
    contents: &Contents,
    label: &Label,
    seal: &Seal,
    random: &mut (impl Random + ?Sized),
) -> Result<Vec<u8>, SealingError> {
    let encoded = encoding::encode(contents);
    if encoded.len() > MAX_CONTENTS_LEN {
        return Err(SealingError::TooLarge(encoded.len()));
    }
    let params = label.params.encode();
    let mut bytes = Vec::with_capacity(encoded.len() + 256 + params.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.push(label.params.kind() as u8);
    // Neither cast cuts anything off: parameters have 255 bytes at most, and the contents were measured above.
    bytes.push(params.len() as u8);
    bytes.extend_from_slice(&params);
    bytes.extend_from_slice(&label.id.0);

    let key_encryption_key = seal.key_encryption_key(&label.params, &label.id)?;
    let mut data_key = Secret::try_with_len(KEY_LEN, |key| random.fill(key))?;
    let data_cipher = cipher(&data_key).ok_or(SealingError::Cipher)?;
    let wrap_nonce: [u8; NONCE_LEN] = random::array(random)?;
    let wrap_tag = cipher(&key_encryption_key)
        .and_then(|cipher| cipher.gcm_seal(&wrap_nonce, &bytes, data_key.expose_mut()).ok())
        .ok_or(SealingError::Cipher)?;

    bytes.extend_from_slice(&label.generation.to_be_bytes());
    bytes.push(u8::from(label.erasing) * FLAG_ERASING);
    bytes.extend_from_slice(&wrap_nonce);
    bytes.extend_from_slice(data_key.expose());
    bytes.extend_from_slice(&wrap_tag);
    let nonce: [u8; NONCE_LEN] = random::array(random)?;
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&(encoded.len() as u32).to_be_bytes());

    let mut text = encoded;
    let tag = data_cipher.gcm_seal(&nonce, &bytes, text.expose_mut()).map_err(|_| SealingError::Cipher)?;
    bytes.extend_from_slice(text.expose());
    bytes.extend_from_slice(&tag);
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    Ok(bytes)
}

/// What the bytes say of themselves, without a seal. An error only when they are no header; damage behind it is told by
/// [`Info::checksum_ok`].
pub fn info(bytes: &[u8]) -> Result<Info, OpenError> {
    parse(bytes).map(|(_, info)| info)
}

/// Opens sealed bytes.
pub fn open(bytes: &[u8], seal: &Seal) -> Result<Opened, OpenError> {
    let (parts, info) = parse(bytes)?;
    if !info.checksum_ok {
        return Err(OpenError::Damaged("its checksum is wrong"));
    }
    let key_encryption_key = seal.key_encryption_key(&info.seal, &info.id)?;
    let mut data_key = Secret::copy_from(parts.wrapped_key);
    cipher(&key_encryption_key)
        .and_then(|cipher| {
            cipher.gcm_open(parts.wrap_nonce, parts.wrap_aad, data_key.expose_mut(), parts.wrap_tag).ok()
        })
        .ok_or(OpenError::WrongSeal(seal.kind()))?;
    let mut text = Secret::copy_from(parts.text);
    cipher(&data_key)
        .and_then(|cipher| cipher.gcm_open(parts.nonce, parts.aad, text.expose_mut(), parts.tag).ok())
        .ok_or(OpenError::Altered)?;
    Ok(Opened { contents: encoding::decode(text.expose())?, info })
}

fn cipher(key: &Secret) -> Option<Cipher> {
    key.expose().try_into().ok().map(Cipher::new)
}

/// Where the encrypted parts stand.
struct Parts<'a> {
    wrap_aad: &'a [u8],
    wrap_nonce: &'a [u8; NONCE_LEN],
    wrapped_key: &'a [u8; KEY_LEN],
    wrap_tag: &'a [u8; TAG_LEN],
    aad: &'a [u8],
    nonce: &'a [u8; NONCE_LEN],
    text: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

fn parse(bytes: &[u8]) -> Result<(Parts<'_>, Info), OpenError> {
    let short = OpenError::Damaged("it ends too early");
    let rest = bytes.strip_prefix(MAGIC).ok_or(OpenError::NotAKeystore)?;
    let Some((format, rest)) = rest.split_first_chunk() else { return Err(short) };
    match u16::from_be_bytes(*format) {
        FORMAT => {}
        other => return Err(OpenError::Format(other)),
    }
    let fields = || {
        let ([kind, params_len], rest) = rest.split_first_chunk()?;
        let (params, rest) = rest.split_at_checked(usize::from(*params_len))?;
        let (id, rest) = rest.split_first_chunk()?;
        let wrap_aad = &bytes[..bytes.len() - rest.len()];
        let (generation, rest) = rest.split_first_chunk()?;
        let ([flags], rest) = rest.split_first_chunk()?;
        let (wrap_nonce, rest) = rest.split_first_chunk()?;
        let (wrapped_key, rest) = rest.split_first_chunk()?;
        let (wrap_tag, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let aad = &bytes[..bytes.len() - rest.len()];
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk::<CHECKSUM_LEN>()?;
        let parts = Parts { wrap_aad, wrap_nonce, wrapped_key, wrap_tag, aad, nonce, text, tag };
        Some((*kind, params, *id, u64::from_be_bytes(*generation), *flags, parts, *checksum, rest))
    };
    let Some((kind, params, id, generation, flags, parts, checksum, rest)) = fields() else {
        return Err(short);
    };
    if !rest.is_empty() {
        return Err(OpenError::Damaged("it doesn't end where it should"));
    }
    if parts.text.len() > MAX_CONTENTS_LEN {
        return Err(OpenError::Damaged("it is longer than a keystore can be"));
    }
    if flags & !FLAG_ERASING != 0 {
        return Err(OpenError::Damaged("a flag that doesn't exist"));
    }
    let seal = SealParams::decode(kind, params).ok_or(OpenError::Damaged("an unknown kind of seal"))?;
    let info = Info {
        id: KeystoreId(id),
        generation,
        seal,
        erasing: flags & FLAG_ERASING != 0,
        contents_len: parts.text.len(),
        sealed_len: bytes.len(),
        checksum_ok: Sha256::digest(&bytes[..bytes.len() - CHECKSUM_LEN])[..] == checksum,
        checksum,
    };
    Ok((parts, info))
}

#[cfg(test)]
mod tests;
