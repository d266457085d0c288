//! What a keystore is sealed with.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params};
use hmac::{Hmac, KeyInit, Mac};
use holdfast_secret::Secret;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::crypto::KEY_LEN;
use crate::random::{Random, RandomError};
use crate::sealed::KeystoreId;

mod hsm;

pub use hsm::{HsmKey, HsmKeyError};

const SALT_LEN: usize = 16;
const PASSPHRASE_PARAMS_LEN: usize = SALT_LEN + 3 * 4;

/// The kinds of seals, by their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SealKind {
    /// Argon2id (RFC 9106) of a passphrase.
    Passphrase = 1,
    /// 32 bytes in a file.
    KeyFile = 2,
    /// The same 32 bytes, handed over by systemd in `$CREDENTIALS_DIRECTORY`.
    SystemdCredential = 3,
    /// 32 random bytes, wrapped by a key in an HSM.
    Hsm = 4,
}

impl fmt::Display for SealKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealKind::Passphrase => "passphrase",
            SealKind::KeyFile => "key-file",
            SealKind::SystemdCredential => "systemd-credential",
            SealKind::Hsm => "hsm",
        })
    }
}

/// Why a seal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nothing to derive a key from.
    #[error("an empty passphrase seals nothing")]
    EmptyPassphrase,
    /// Argon2id isn't given such parameters here.
    #[error(
        "Argon2id with {0}; it takes 8 KiB per lane to 1 GiB of memory, 1 to 16 lanes, and at most 4 GiB of memory \
         times passes"
    )]
    Cost(PassphraseCost),
    /// Neither raw nor hexadecimal.
    #[error(
        "a key file of {0} bytes; it holds 32 random bytes, either as they are or as 64 hexadecimal digits"
    )]
    KeyFile(usize),
    /// The wrong kind was given.
    #[error("the keystore is sealed by a {sealed_by}, but a {given} was given")]
    OtherKind {
        /// What the file says.
        sealed_by: SealKind,
        /// What the caller has.
        given: SealKind,
    },
    /// The HSM's key doesn't wrap or unwrap.
    #[error(transparent)]
    Hsm(#[from] HsmKeyError),
    /// Argon2id failed.
    #[error("Argon2id failed: {0}; is there enough memory?")]
    Argon2(argon2::Error),
    /// No salt could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What deriving a key from a passphrase costs: the parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106, section 4.
    pub const RECOMMENDED: PassphraseCost = PassphraseCost { memory: 64 * 1024, passes: 3, lanes: 4 };

    /// Bounded, because the parameters of a file are used before anything of it is authenticated.
    fn check(self) -> Result<PassphraseCost, SealError> {
        let PassphraseCost { memory, passes, lanes } = self;
        let fits = (1..=16).contains(&lanes)
            && (8 * lanes..=1 << 20).contains(&memory)
            && passes >= 1
            && u64::from(memory) * u64::from(passes) <= 1 << 22;
        if fits { Ok(self) } else { Err(SealError::Cost(self)) }
    }
}

impl fmt::Display for PassphraseCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PassphraseCost { memory, passes, lanes } = self;
        write!(f, "{memory} KiB of memory, {passes} passes, {lanes} lanes")
    }
}

/// What a file says about its seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealParams {
    /// What Argon2id needs besides the passphrase.
    Passphrase {
        /// Random.
        salt: [u8; SALT_LEN],
        /// Chosen when it was sealed.
        cost: PassphraseCost,
    },
    /// Nothing more.
    KeyFile,
    /// Nothing more.
    SystemdCredential,
    /// What the HSM's key needs to unwrap the root. Its form is the caller's.
    Hsm(Vec<u8>),
}

impl SealParams {
    /// The kind.
    pub fn kind(&self) -> SealKind {
        match self {
            SealParams::Passphrase { .. } => SealKind::Passphrase,
            SealParams::KeyFile => SealKind::KeyFile,
            SealParams::SystemdCredential => SealKind::SystemdCredential,
            SealParams::Hsm(_) => SealKind::Hsm,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            SealParams::Passphrase { salt, cost: PassphraseCost { memory, passes, lanes } } => {
                let numbers = [memory, passes, lanes].map(|number| number.to_be_bytes()).concat();
                [salt.as_slice(), &numbers].concat()
            }
            SealParams::KeyFile | SealParams::SystemdCredential => Vec::new(),
            SealParams::Hsm(bytes) => bytes.clone(),
        }
    }

    /// None for an unknown kind, or parameters that aren't of the kind's length.
    pub(crate) fn decode(kind: u8, bytes: &[u8]) -> Option<SealParams> {
        match (kind, bytes.len()) {
            (1, PASSPHRASE_PARAMS_LEN) => {
                let (salt, rest) = bytes.split_first_chunk()?;
                let (memory, rest) = rest.split_first_chunk()?;
                let (passes, rest) = rest.split_first_chunk()?;
                let lanes = rest.try_into().ok()?;
                let [memory, passes, lanes] = [*memory, *passes, lanes].map(u32::from_be_bytes);
                Some(SealParams::Passphrase { salt: *salt, cost: PassphraseCost { memory, passes, lanes } })
            }
            (2, 0) => Some(SealParams::KeyFile),
            (3, 0) => Some(SealParams::SystemdCredential),
            (4, _) => Some(SealParams::Hsm(bytes.to_vec())),
            _ => None,
        }
    }
}

/// What an operator seals and opens a keystore with.
///
/// The root that Argon2id gives for a passphrase, or that an HSM unwrapped, is kept (locked in memory), so that a file can be
/// read and written again without another derivation, or without the HSM, for as long as its parameters stay the same.
pub struct Seal {
    source: Source,
    derived: Mutex<Option<(SealParams, Secret)>>,
}

/// Where the root comes from.
enum Source {
    /// The cost is for new salts.
    Passphrase(Secret, PassphraseCost),
    /// The root itself.
    Bytes(SealKind, Secret),
    Hsm(Box<dyn HsmKey>),
}

impl Seal {
    /// A passphrase, as the bytes that were typed without the end of the line.
    pub fn passphrase(passphrase: Secret) -> Result<Seal, SealError> {
        Seal::passphrase_with_cost(passphrase, PassphraseCost::RECOMMENDED)
    }

    /// A passphrase with another cost than [`PassphraseCost::RECOMMENDED`] when sealing anew. Opening takes the file's.
    pub fn passphrase_with_cost(passphrase: Secret, cost: PassphraseCost) -> Result<Seal, SealError> {
        if passphrase.is_empty() {
            return Err(SealError::EmptyPassphrase);
        }
        Ok(Seal::of(Source::Passphrase(passphrase, cost.check()?)))
    }

    /// The content of a key file: exactly 32 bytes, or 64 hexadecimal digits, which an end of line may follow. The
    /// caller wipes its own copy.
    pub fn key_file(content: &[u8]) -> Result<Seal, SealError> {
        Seal::key_bytes(SealKind::KeyFile, content)
    }

    /// The content of a systemd credential, in the forms of a key file. It opens a keystore that the same bytes in a key
    /// file sealed, and the other way round.
    pub fn systemd_credential(content: &[u8]) -> Result<Seal, SealError> {
        Seal::key_bytes(SealKind::SystemdCredential, content)
    }

    /// A key in an HSM. It is asked when a root has to be wrapped or unwrapped.
    pub fn hsm(key: Box<dyn HsmKey>) -> Seal {
        Seal::of(Source::Hsm(key))
    }

    fn of(source: Source) -> Seal {
        Seal { source, derived: Mutex::default() }
    }

    /// A new key file's content: 64 hexadecimal digits and an end of line.
    pub fn new_key_file(random: &mut (impl Random + ?Sized)) -> Result<Secret, RandomError> {
        Secret::try_with_len(2 * KEY_LEN + 1, |text| {
            let (bytes, rest) = text.split_at_mut(KEY_LEN);
            random.fill(bytes)?;
            rest[KEY_LEN] = b'\n';
            // From the end, so that no byte is overwritten before it was read.
            for index in (0..KEY_LEN).rev() {
                let byte = text[index];
                text[2 * index] = hex_digit(byte >> 4);
                text[2 * index + 1] = hex_digit(byte & 15);
            }
            Ok(())
        })
    }

    fn key_bytes(kind: SealKind, content: &[u8]) -> Result<Seal, SealError> {
        let secret = match content.len() {
            KEY_LEN => Secret::copy_from(content),
            _ => {
                let text = content.strip_suffix(b"\n").unwrap_or(content);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let wrong = || SealError::KeyFile(content.len());
                if text.len() != 2 * KEY_LEN {
                    return Err(wrong());
                }
                Secret::try_with_len(KEY_LEN, |bytes| {
                    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                        *byte = hex_value(pair[0])
                            .zip(hex_value(pair[1]))
                            .map(|(high, low)| high << 4 | low)
                            .ok_or_else(wrong)?;
                    }
                    Ok::<_, SealError>(())
                })?
            }
        };
        Ok(Seal::of(Source::Bytes(kind, secret)))
    }

    /// The kind.
    pub fn kind(&self) -> SealKind {
        match &self.source {
            Source::Passphrase(..) => SealKind::Passphrase,
            Source::Bytes(kind, _) => *kind,
            Source::Hsm(_) => SealKind::Hsm,
        }
    }

    /// Parameters for sealing anew: a new salt, or a new root that the HSM wraps, where there is one.
    pub fn new_params(&self, random: &mut (impl Random + ?Sized)) -> Result<SealParams, SealError> {
        Ok(match &self.source {
            Source::Passphrase(_, cost) => {
                SealParams::Passphrase { salt: crate::random::array(random)?, cost: *cost }
            }
            Source::Bytes(SealKind::SystemdCredential, _) => SealParams::SystemdCredential,
            Source::Bytes(..) => SealParams::KeyFile,
            Source::Hsm(key) => {
                let root = Secret::try_with_len(KEY_LEN, |root| random.fill(root))?;
                let params = SealParams::Hsm(hsm::wrap(key.as_ref(), &root)?);
                *self.derived.lock().unwrap_or_else(PoisonError::into_inner) = Some((params.clone(), root));
                params
            }
        })
    }

    /// The key that encrypts the data key of keystore `id`: HMAC-SHA256 keeps keystores under one seal apart.
    pub(crate) fn key_encryption_key(
        &self,
        params: &SealParams,
        id: &KeystoreId,
    ) -> Result<Secret, SealError> {
        let root = self.root(params)?;
        // HMAC takes a key of any length.
        let mut mac =
            Hmac::<Sha256>::new_from_slice(root.expose()).map_err(|_| SealError::KeyFile(root.len()))?;
        mac.update(b"holdfast keystore 1: key encryption key");
        mac.update(&id.0);
        let mut output = mac.finalize().into_bytes();
        let key = Secret::copy_from(&output);
        output.as_mut_slice().zeroize();
        Ok(key)
    }

    fn root(&self, params: &SealParams) -> Result<Secret, SealError> {
        match (params, &self.source) {
            (SealParams::Passphrase { salt, cost }, Source::Passphrase(passphrase, _)) => {
                self.derived(params, || argon2id(passphrase, salt, *cost))
            }
            (SealParams::Hsm(wrapped), Source::Hsm(key)) => {
                self.derived(params, || Ok(hsm::unwrap(key.as_ref(), wrapped)?))
            }
            (SealParams::KeyFile | SealParams::SystemdCredential, Source::Bytes(_, root)) => Ok(root.clone()),
            _ => Err(SealError::OtherKind { sealed_by: params.kind(), given: self.kind() }),
        }
    }

    /// What was derived last, where the parameters are still the same.
    fn derived(
        &self,
        params: &SealParams,
        derive: impl FnOnce() -> Result<Secret, SealError>,
    ) -> Result<Secret, SealError> {
        // Held during the derivation, so that several readers don't repeat it.
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, root)) = derived.as_ref().filter(|(known, _)| known == params) {
            return Ok(root.clone());
        }
        let root = derive()?;
        *derived = Some((params.clone(), root.clone()));
        Ok(root)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

fn argon2id(passphrase: &Secret, salt: &[u8; SALT_LEN], cost: PassphraseCost) -> Result<Secret, SealError> {
    let PassphraseCost { memory, passes, lanes } = cost.check()?;
    let params = Params::new(memory, passes, lanes, Some(KEY_LEN)).map_err(SealError::Argon2)?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
    let root = Secret::try_with_len(KEY_LEN, |out| {
        argon2.hash_password_into_with_memory(passphrase.expose(), salt, out, &mut blocks)
    });
    blocks.iter_mut().for_each(Zeroize::zeroize);
    root.map_err(SealError::Argon2)
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
