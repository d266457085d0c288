//! Fetches the secret that opens the keystore, from where the configuration says it is.

use std::path::PathBuf;

use holdfast_keystore::{Seal, SealError};

mod hsm;

pub use hsm::HsmSeal;

use super::secret::{SecretError, first_line, read_credential, read_file, read_variable};

/// Where the secret of a keystore's seal comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SealSource {
    /// A file of random bytes.
    KeyFile(PathBuf),
    /// A file whose first line is the passphrase.
    PassphraseFile(PathBuf),
    /// An environment variable that holds the passphrase.
    PassphraseEnv(String),
    /// The name of a systemd credential (`LoadCredential=` or `LoadCredentialEncrypted=`) that holds the key.
    SystemdCredential(String),
    /// A key in an HSM.
    Hsm(Box<HsmSeal>),
}

/// Why a seal can't be had. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SealSourceError {
    /// Its secret can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What is there can't be a seal.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl SealSource {
    /// Reads the secret: a file or an environment variable. An HSM is asked when the keystore is opened.
    pub fn read(&self) -> Result<Seal, SealSourceError> {
        Ok(match self {
            Self::KeyFile(file) => Seal::key_file(read_file("seal's key file", file)?.expose())?,
            Self::PassphraseFile(file) => {
                Seal::passphrase(first_line(&read_file("seal's passphrase file", file)?))?
            }
            Self::PassphraseEnv(variable) => {
                Seal::passphrase(read_variable("keystore's passphrase", variable)?)?
            }
            Self::SystemdCredential(name) => {
                Seal::systemd_credential(read_credential("seal's systemd credential", name)?.expose())?
            }
            Self::Hsm(seal) => Seal::hsm(seal.clone()),
        })
    }
}
