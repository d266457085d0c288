//! Fetches the secret that opens the keystore, from where the configuration says it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdfast_keystore::{Seal, SealError};
use holdfast_secret::Secret;

use super::SealSource;

/// More than any key file or passphrase has, in bytes.
const MAX_LEN: usize = 4096;

/// Why the secret of a seal can't be had. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SealSourceError {
    /// The file can't be read.
    #[error("can't read the seal's {what} {}: {source}", file.display())]
    Unreadable {
        /// `key file`, `passphrase file` or `systemd credential`.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no key and no passphrase.
    #[error("the seal's {what} {} has more than {MAX_LEN} bytes; is it the right file?", file.display())]
    TooLong {
        /// As above.
        what: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// The variable isn't set.
    #[error("the environment variable {0} is not set; it must hold the keystore's passphrase")]
    NoVariable(String),
    /// systemd gave no credentials.
    #[error(
        "$CREDENTIALS_DIRECTORY is not set, so there is no systemd credential {0}; \
         start as a systemd service with LoadCredential= or LoadCredentialEncrypted="
    )]
    NoCredentials(String),
    /// What is there can't be a seal.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl SealSource {
    /// Reads the secret: a file or an environment variable.
    pub fn read(&self) -> Result<Seal, SealSourceError> {
        match self {
            Self::KeyFile(file) => Ok(Seal::key_file(read("key file", file)?.expose())?),
            Self::PassphraseFile(file) => {
                let content = read("passphrase file", file)?;
                let line = content.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
                Ok(Seal::passphrase(Secret::copy_from(line.strip_suffix(b"\r").unwrap_or(line)))?)
            }
            Self::PassphraseEnv(variable) => {
                let value = std::env::var_os(variable)
                    .ok_or_else(|| SealSourceError::NoVariable(variable.clone()))?;
                Ok(Seal::passphrase(Secret::copy_from(value.as_bytes()))?)
            }
            Self::SystemdCredential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SealSourceError::NoCredentials(name.clone()))?;
                let content = read("systemd credential", &Path::new(&folder).join(name))?;
                Ok(Seal::systemd_credential(content.expose())?)
            }
        }
    }
}

fn read(what: &'static str, file: &Path) -> Result<Secret, SealSourceError> {
    let unreadable = |source| SealSourceError::Unreadable { what, file: file.to_owned(), source };
    let mut opened = File::open(file).map_err(unreadable)?;
    let mut result = Ok(0);
    // One byte more than allowed tells a longer file; the secret never stands in unlocked memory.
    let buffer = Secret::with_len(MAX_LEN + 1, |buffer| result = fill(&mut opened, buffer));
    let length = result.map_err(unreadable)?;
    match buffer.expose().get(..length) {
        Some(content) if length <= MAX_LEN => Ok(Secret::copy_from(content)),
        _ => Err(SealSourceError::TooLong { what, file: file.to_owned() }),
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
