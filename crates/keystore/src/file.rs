//! A keystore in a file, which a kill at any instant leaves whole.
//!
//! A change is made under an exclusive lock on `PATH.lock` (which stays): the new state is written to `PATH.new` and
//! synced, the present one gets the second name `PATH.previous`, and `PATH.new` is renamed to `PATH`. When the folder is
//! synced too, the change is durable and the call returns.

use std::fs;
use std::path::{Path, PathBuf};

use crate::contents::{Contents, ContentsError};
use crate::random::{self, SystemRandom};
use crate::seal::Seal;
use crate::sealed::{self, Anchor, Info, KeystoreId, Label, OpenError, Opened, Refusal};

mod disk;
mod error;
mod recovery;

pub use error::FileError;
pub use recovery::Restored;

/// A keystore's file.
#[derive(Clone, Debug)]
pub struct KeystoreFile {
    path: PathBuf,
}

impl KeystoreFile {
    /// The file at `path`. Nothing is read yet.
    pub fn at(path: impl Into<PathBuf>) -> KeystoreFile {
        KeystoreFile { path: path.into() }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the previous generation, `PATH.previous`.
    pub fn previous_path(&self) -> PathBuf {
        disk::beside(&self.path, "previous")
    }

    /// Makes a new keystore, of generation 1. Never overwrites.
    pub fn create(&self, seal: &Seal, contents: &Contents) -> Result<Info, FileError> {
        let _lock = disk::lock(&self.path)?;
        if self.path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path: self.path.clone() });
        }
        let id = KeystoreId(random::array(&mut SystemRandom)?);
        let params = seal.new_params(&mut SystemRandom)?;
        let label = Label { id, generation: 1, erasing: false, params };
        let (bytes, info) = self.sealed(contents, &label, seal)?;
        disk::write_new(&self.path, &bytes)?;
        Ok(info)
    }

    /// Reads and opens it.
    pub fn open(&self, seal: &Seal) -> Result<Opened, FileError> {
        self.open_bytes(&self.read()?, seal)
    }

    /// Reads and opens it, and refuses another keystore and an older state than `anchor`.
    pub fn open_from(&self, seal: &Seal, anchor: &Anchor) -> Result<Opened, FileError> {
        let opened = self.open(seal)?;
        anchor.check(&opened.info).map_err(|source| self.refused(source))?;
        Ok(opened)
    }

    /// What it says of itself, without a seal.
    pub fn info(&self) -> Result<Info, FileError> {
        sealed::info(&self.read()?).map_err(|source| self.unopened(source))
    }

    /// Takes a newer state into `held`, and says whether there was one. Another keystore, an older generation, and
    /// other bytes of the same generation are refused; `held` is unchanged then.
    pub fn reload(&self, seal: &Seal, held: &mut Opened) -> Result<bool, FileError> {
        let bytes = self.read()?;
        let claim = sealed::info(&bytes).map_err(|source| self.unopened(source))?;
        if claim.checksum_ok && claim == held.info {
            return Ok(false);
        }
        // What decides is what was authenticated.
        let found = self.open_bytes(&bytes, seal)?;
        held.info.anchor().check(&found.info).map_err(|source| self.refused(source))?;
        if found.info.generation == held.info.generation {
            return Err(self.refused(Refusal::Forked { generation: found.info.generation }));
        }
        *held = found;
        Ok(true)
    }

    /// Changes the contents, durably. When `change` fails, nothing is written.
    ///
    /// When a key, a version or a credential is gone afterwards, two generations are written, so that `PATH.previous`
    /// doesn't hold it either. If that was interrupted ([`Info::erasing`]), any further change finishes it.
    pub fn update<T>(
        &self,
        seal: &Seal,
        change: impl FnOnce(&mut Contents) -> Result<T, ContentsError>,
    ) -> Result<(T, Info), FileError> {
        let path = self.target()?;
        let _lock = disk::lock(&path)?;
        let Opened { contents: old, info } = self.open(seal)?;
        let mut contents = old.clone();
        let result = change(&mut contents)?;
        let erase = contents.lacks_a_secret_of(&old);
        let written = self.write(&path, &contents, seal, info, erase)?;
        Ok((result, written))
    }

    /// Seals it anew: with another seal, or with a new salt of the same passphrase. The previous generation is
    /// rewritten too, so that the old seal opens neither. Backups still open with the old one.
    pub fn reseal(&self, old: &Seal, new: &Seal) -> Result<Info, FileError> {
        let path = self.target()?;
        let _lock = disk::lock(&path)?;
        let Opened { contents, mut info } = self.open(old)?;
        info.seal = new.new_params(&mut SystemRandom)?;
        self.write(&path, &contents, new, info, true)
    }

    /// Writes the successor of `info`, in two steps if something is to be forgotten.
    fn write(
        &self,
        path: &Path,
        contents: &Contents,
        seal: &Seal,
        info: Info,
        erase: bool,
    ) -> Result<Info, FileError> {
        let mut label = Label { id: info.id, generation: info.generation, erasing: erase, params: info.seal };
        let next = |label: &mut Label| {
            let generation = label.generation.checked_add(1);
            label.generation = generation.ok_or(FileError::LastGeneration { path: path.to_owned() })?;
            self.sealed(contents, label, seal)
        };
        let (bytes, info) = next(&mut label)?;
        if !erase {
            disk::replace(path, &bytes, true)?;
            return Ok(info);
        }
        // Both are made before either is written, so that only the disk can interrupt.
        label.erasing = false;
        let (last_bytes, last_info) = next(&mut label)?;
        disk::replace(path, &bytes, true)?;
        disk::replace(path, &last_bytes, true)?;
        Ok(last_info)
    }

    /// Seals, and proves that it opens again: nothing else is ever written.
    fn sealed(&self, contents: &Contents, label: &Label, seal: &Seal) -> Result<(Vec<u8>, Info), FileError> {
        let bytes = sealed::seal(contents, label, seal, &mut SystemRandom)?;
        let opened = self.open_bytes(&bytes, seal)?;
        Ok((bytes, opened.info))
    }

    /// Where the file really is: a symbolic link stays, and what it leads to is replaced.
    fn target(&self) -> Result<PathBuf, FileError> {
        fs::canonicalize(&self.path).map_err(|source| disk::failed("find", &self.path, source))
    }

    fn read(&self) -> Result<Vec<u8>, FileError> {
        disk::read(&self.path)
    }

    fn open_bytes(&self, bytes: &[u8], seal: &Seal) -> Result<Opened, FileError> {
        sealed::open(bytes, seal).map_err(|source| self.unopened(source))
    }

    fn unopened(&self, source: OpenError) -> FileError {
        FileError::Open { path: self.path.clone(), source }
    }

    fn refused(&self, source: Refusal) -> FileError {
        FileError::Refused { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
