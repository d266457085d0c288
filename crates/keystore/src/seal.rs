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
    /// A key in an HSM. The number is reserved.
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
    /// This version has no HSM seals.
    #[error("the keystore is sealed by an HSM key, which this version can't open")]
    HsmUnsupported,
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
    /// Reserved, unread.
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
/// The key that Argon2id gives for a passphrase is kept (locked in memory), so that a file can be read and written again
/// without another derivation for as long as its salt and cost stay the same.
pub struct Seal {
    kind: SealKind,
    /// The passphrase, or the 32 bytes.
    secret: Secret,
    /// For new salts.
    cost: PassphraseCost,
    derived: Mutex<Option<(SealParams, Secret)>>,
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
        Ok(Seal {
            kind: SealKind::Passphrase,
            secret: passphrase,
            cost: cost.check()?,
            derived: Mutex::default(),
        })
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
        Ok(Seal { kind, secret, cost: PassphraseCost::RECOMMENDED, derived: Mutex::default() })
    }

    /// The kind.
    pub fn kind(&self) -> SealKind {
        self.kind
    }

    /// Parameters for sealing anew: a new salt where there is one.
    pub fn new_params(&self, random: &mut (impl Random + ?Sized)) -> Result<SealParams, SealError> {
        Ok(match self.kind {
            SealKind::Passphrase => {
                SealParams::Passphrase { salt: crate::random::array(random)?, cost: self.cost }
            }
            SealKind::KeyFile => SealParams::KeyFile,
            SealKind::SystemdCredential => SealParams::SystemdCredential,
            SealKind::Hsm => return Err(SealError::HsmUnsupported),
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
        match params {
            SealParams::Hsm(_) => Err(SealError::HsmUnsupported),
            SealParams::Passphrase { salt, cost } if self.kind == SealKind::Passphrase => {
                // Held during the derivation, so that several readers don't repeat it.
                let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, root)) = derived.as_ref().filter(|(known, _)| known == params) {
                    return Ok(root.clone());
                }
                let root = argon2id(&self.secret, salt, *cost)?;
                *derived = Some((params.clone(), root.clone()));
                Ok(root)
            }
            SealParams::KeyFile | SealParams::SystemdCredential if self.kind != SealKind::Passphrase => {
                Ok(self.secret.clone())
            }
            _ => Err(SealError::OtherKind { sealed_by: params.kind(), given: self.kind }),
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("kind", &self.kind).finish_non_exhaustive()
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
