//! Why a file is not read or written.

use std::io;
use std::path::PathBuf;

use crate::contents::ContentsError;
use crate::random::RandomError;
use crate::seal::SealError;
use crate::sealed::{OpenError, Refusal, SealingError};

/// Why a file operation wasn't done. After a failure to write, the file at the path has the state before or after it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Nothing is ever overwritten by `create` and `backup`.
    #[error("{} exists already; nothing was overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Larger than any keystore.
    #[error("{} has {len} bytes, more than a keystore can have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// It can't be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// It opens and isn't what is known.
    #[error("{} is refused: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Refusal,
    },
    /// The change can't be made.
    #[error(transparent)]
    Change(#[from] ContentsError),
    /// The new state can't be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The highest generation is reached, which no honest history does.
    #[error("{} has the last generation there can be; restore a backup into a new path", path.display())]
    LastGeneration {
        /// The file.
        path: PathBuf,
    },
}

impl From<SealError> for FileError {
    fn from(error: SealError) -> FileError {
        FileError::Sealing(error.into())
    }
}

impl From<RandomError> for FileError {
    fn from(error: RandomError) -> FileError {
        FileError::Sealing(error.into())
    }
}
