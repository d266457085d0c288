//! What a keystore is sealed with.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params};
use hmac::{Hmac, KeyInit, Mac};
use holdfast_secret::Secret;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::crypto::KEY_LEN;
use crate::id::KeystoreId;
use crate::random::{Random, RandomError};

mod hsm;
mod params;

pub use hsm::{HsmKey, HsmKeyError};
use params::SALT_LEN;
pub use params::{PassphraseCost, SealError, SealKind, SealParams};

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
