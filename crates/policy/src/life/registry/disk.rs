//! The steps on disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::life::registry::RegistryError;

pub fn failed(action: &'static str, path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::Io { action, path: path.to_owned(), source }
}

/// Where artefacts are.
pub fn artefacts(folder: &Path) -> PathBuf {
    folder.join("artefacts")
}

/// Whether the folder is there; it must be private then, because whoever can change a policy can use any key.
pub fn is_there(folder: &Path) -> Result<bool, RegistryError> {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed("look at", folder, source)),
    };
    // SAFETY: geteuid has no preconditions and can't fail.
    let user = unsafe { libc::geteuid() };
    match metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0 {
        true => Ok(true),
        false => Err(RegistryError::NotPrivate(folder.to_owned())),
    }
}

/// Makes the folder where it isn't there, durably.
pub fn make(folder: &Path) -> Result<(), RegistryError> {
    let artefacts = artefacts(folder);
    if is_there(folder)? && artefacts.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&artefacts);
    made.map_err(|source| failed("make", &artefacts, source))?;
    sync_folder(folder)?;
    // A relative folder of one component has the empty path as its parent.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))?;
    is_there(folder).map(|_| ())
}

/// Waits for the exclusive lock, which is held until the result is dropped or the process ends.
pub fn lock(folder: &Path) -> Result<File, RegistryError> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|source| failed("open", &path, source))?;
    file.lock().map_err(|source| failed("lock", &path, source))?;
    Ok(file)
}

/// Replaces a file: a kill leaves the old or the new one, and after an error it is the old one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Before the rename, after which nothing may fail.
    let folder = File::open(folder).map_err(|source| failed("open", folder, source))?;
    let new = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|source| failed("write", path, source))?;
    if let Err(error) = folder.sync_all() {
        // It is the new one for all that read it; whether it survives a failure of power isn't known.
        tracing::error!(%error, path = %path.display(), "the file was replaced, and the disk doesn't say that it is kept");
    }
    Ok(())
}

/// Removes a file that nothing names any more. One that stays takes room and does no harm.
pub fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "can't remove a policy that isn't kept any more");
    }
}

/// Removes artefacts that the state doesn't name, and what was being received.
pub fn sweep(folder: &Path, is_known: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(artefacts(folder)) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default();
        if extension == "incoming" || (extension == "wasm" && !is_known(&stem)) {
            forget(&path);
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), RegistryError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| failed("sync", folder, source))
}

/// A file that is being received; it goes when this is dropped.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Incoming {
    pub(super) fn create(folder: &Path) -> Result<Incoming, RegistryError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = artefacts(folder).join(format!("{}-{number}.incoming", std::process::id()));
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = opened.map_err(|source| failed("write", &path, source))?;
        Ok(Incoming { path, file, kept: false })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.file.write_all(bytes).map_err(|source| failed("write", &self.path, source))
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rename(mut self, target: &Path) -> Result<(), RegistryError> {
        self.file.sync_all().map_err(|source| failed("sync", &self.path, source))?;
        fs::rename(&self.path, target).map_err(|source| failed("rename", &self.path, source))?;
        self.kept = true;
        sync_folder(target.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            forget(&self.path);
        }
    }
}
