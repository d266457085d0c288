//! Secrets that the configuration only says the place of: files, environment variables, systemd credentials.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_secret::Secret;

/// More than any key file, passphrase or PIN has, in bytes.
const MAX_LEN: usize = 4096;

/// Why a secret can't be had. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("can't read the {what} {}: {source}", file.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no key, passphrase or PIN.
    #[error("the {what} {} has more than {MAX_LEN} bytes; is it the right file?", file.display())]
    TooLong {
        /// As above.
        what: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// The variable isn't set.
    #[error("the environment variable {name} is not set; it must hold the {what}")]
    NoVariable {
        /// As above.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// systemd gave no credentials.
    #[error(
        "$CREDENTIALS_DIRECTORY is not set, so there is no systemd credential {0}; \
         start as a systemd service with LoadCredential= or LoadCredentialEncrypted="
    )]
    NoCredentials(String),
}

/// Where an HSM's PIN comes from; never from the configuration itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A systemd credential.
    Credential(String),
}

/// Reads the PIN anew each time that it is asked for: it may have changed.
pub(super) fn pin_source(source: &PinSource) -> holdfast_pkcs11::PinSource {
    let source = source.clone();
    Arc::new(move || source.read().map_err(|error| error.to_string()))
}

impl PinSource {
    /// The PIN.
    pub fn read(&self) -> Result<Secret, SecretError> {
        const WHAT: &str = "PIN";
        match self {
            Self::File(file) => Ok(first_line(&read_file(WHAT, file)?)),
            Self::Variable(name) => read_variable(WHAT, name),
            Self::Credential(name) => Ok(first_line(&read_credential(WHAT, name)?)),
        }
    }
}

/// A file's content. The secret never stands in unlocked memory.
pub fn read_file(what: &'static str, file: &Path) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable { what, file: file.to_owned(), source };
    let mut opened = File::open(file).map_err(unreadable)?;
    let mut result = Ok(0);
    // One byte more than allowed tells a longer file.
    let buffer = Secret::with_len(MAX_LEN + 1, |buffer| result = fill(&mut opened, buffer));
    let length = result.map_err(unreadable)?;
    match buffer.expose().get(..length) {
        Some(content) if length <= MAX_LEN => Ok(Secret::copy_from(content)),
        _ => Err(SecretError::TooLong { what, file: file.to_owned() }),
    }
}

/// An environment variable's value.
pub fn read_variable(what: &'static str, name: &str) -> Result<Secret, SecretError> {
    let value =
        std::env::var_os(name).ok_or_else(|| SecretError::NoVariable { what, name: name.to_owned() })?;
    Ok(Secret::copy_from(value.as_bytes()))
}

/// A systemd credential's content.
pub fn read_credential(what: &'static str, name: &str) -> Result<Secret, SecretError> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
        .ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
    read_file(what, &Path::new(&folder).join(name))
}

/// Without its line's end.
pub fn first_line(content: &Secret) -> Secret {
    let line = content.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    Secret::copy_from(line.strip_suffix(b"\r").unwrap_or(line))
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

pub(super) fn variable(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty()
        && text.bytes().all(allowed)
        && !text.starts_with(|first: char| first.is_ascii_digit())
    {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} isn't the name of an environment variable (letters, digits and _)"))
}

/// systemd takes any file name here, but never a path.
pub(super) fn credential(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.contains(['/', '\0']) || text == "." || text == ".." {
        return Err(format!(
            "{text:?} isn't the name of a systemd credential (a file name without a folder)"
        ));
    }
    Ok(text.to_owned())
}
