//! Backups, and the way back from one.

use std::path::{Path, PathBuf};

use crate::file::{FileError, KeystoreFile, disk};
use crate::random::SystemRandom;
use crate::seal::Seal;
use crate::sealed::{self, Info, Label, OpenError, Refusal};

/// What [`KeystoreFile::restore`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The file as it is now.
    pub info: Info,
    /// Where the file that was there is kept, if there was one. It still holds its keys.
    pub replaced: Option<PathBuf>,
}

impl KeystoreFile {
    /// Copies the present state to `to`, a new file, after checking that it isn't damaged. It stays sealed as it is.
    pub fn backup(&self, to: &Path) -> Result<Info, FileError> {
        let bytes = self.read()?;
        let info = sealed::info(&bytes).map_err(|source| self.unopened(source))?;
        if !info.checksum_ok {
            return Err(self.unopened(OpenError::Damaged("its checksum is wrong")));
        }
        disk::write_new(to, &bytes)?;
        Ok(info)
    }

    /// Puts the state of the backup `from` back, as the newest generation and sealed by `seal`.
    ///
    /// What was at the path is kept beside it under the name [`Restored::replaced`], whatever its condition, and
    /// another keystore's backup is refused as long as the present file can be read. Keys that were destroyed since the
    /// backup come back, and what was made since is only in the replaced file.
    pub fn restore(&self, from: &Path, from_seal: &Seal, seal: &Seal) -> Result<Restored, FileError> {
        let backup = KeystoreFile::at(from).open(from_seal)?;
        let path = if self.path().exists() { self.target()? } else { self.path().to_owned() };
        let _lock = disk::lock(&path)?;

        let present = path.exists();
        let intact = |path: &Path| disk::read(path).ok().and_then(|bytes| sealed::info(&bytes).ok());
        let current = intact(&path).filter(|info| info.checksum_ok);
        if let Some(info) = current.as_ref().filter(|info| info.id != backup.info.id) {
            return Err(self.refused(Refusal::OtherKeystore { known: info.id, found: backup.info.id }));
        }
        let previous = intact(&disk::beside(&path, "previous"))
            .filter(|info| info.checksum_ok && info.id == backup.info.id);
        // A running host takes only a newer generation than the one that it holds. What can't be read any more, or
        // is gone, was at most one ahead of the previous one.
        let unread = u64::from(current.is_none());
        let newest = [Some(&backup.info), current.as_ref(), previous.as_ref()];
        let newest = newest.into_iter().flatten().map(|info| info.generation).max();
        let generation = newest.and_then(|newest| newest.checked_add(1 + unread));
        let generation = generation.ok_or_else(|| FileError::LastGeneration { path: path.clone() })?;

        let params = seal.new_params(&mut SystemRandom)?;
        let label = Label { id: backup.info.id, generation, erasing: false, params };
        let (bytes, info) = self.sealed(&backup.contents, &label, seal)?;
        if !present {
            disk::write_new(&path, &bytes)?;
            return Ok(Restored { info, replaced: None });
        }
        let replaced = disk::keep(&path)?;
        // A damaged file must not take the place of the previous one, which may be the last that is whole.
        disk::replace(&path, &bytes, current.is_some())?;
        Ok(Restored { info, replaced: Some(replaced) })
    }
}
