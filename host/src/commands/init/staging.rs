//! A folder that appears whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

use crate::commands::new_file::{self, Mode, NewFileError};

/// A folder beside its final place; removed again unless it is put there.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    place: PathBuf,
    finished: bool,
}

/// The folder can't be put where it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    #[error("{} is there already and isn't an empty folder; nothing is overwritten, so name another", .0.display())]
    Occupied(PathBuf),
    #[error("{} is the current folder; name one that isn't there yet", .0.display())]
    Current(PathBuf),
    #[error("{} can't be the name of a new folder", .0.display())]
    NoName(PathBuf),
    #[error(transparent)]
    New(#[from] NewFileError),
    #[error("can't rename {} to {}", from.display(), to.display())]
    Rename { from: PathBuf, to: PathBuf, source: io::Error },
}

impl Staging {
    /// A private folder beside `place`, which must not exist or be empty.
    pub fn beside(place: &Path) -> Result<Self, StagingError> {
        refuse_occupied(place)?;
        let name = place.file_name().ok_or_else(|| StagingError::NoName(place.to_owned()))?.to_string_lossy();
        let folder = place.with_file_name(format!(".{name}.init-{}", std::process::id()));
        new_file::private_folder(&folder)?;
        Ok(Self { folder, place: place.to_owned(), finished: false })
    }

    /// Where a file or folder of that name is made.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a file.
    pub fn file(&self, name: &str, content: &[u8], mode: Mode) -> Result<(), NewFileError> {
        new_file::write(&self.path(name), content, mode)
    }

    /// Makes a folder.
    pub fn folder(&self, name: &str) -> Result<(), NewFileError> {
        new_file::private_folder(&self.path(name))
    }

    /// Puts the folder in its place. rename(2) replaces an empty folder and nothing else.
    pub fn finish(mut self) -> Result<(), StagingError> {
        std::fs::rename(&self.folder, &self.place).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                StagingError::Occupied(self.place.clone())
            }
            _ => StagingError::Rename { from: self.folder.clone(), to: self.place.clone(), source },
        })?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished {
            // What led here is the error to tell.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn refuse_occupied(place: &Path) -> Result<(), StagingError> {
    if std::fs::symlink_metadata(place).is_err() {
        return Ok(());
    }
    // The shell would be left in a folder that is no more.
    let current = std::env::current_dir().and_then(|folder| folder.canonicalize()).ok();
    if current.is_some() && place.canonicalize().ok() == current {
        return Err(StagingError::Current(place.to_owned()));
    }
    let empty = place.is_dir()
        && !place.is_symlink()
        && std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
    if empty { Ok(()) } else { Err(StagingError::Occupied(place.to_owned())) }
}
