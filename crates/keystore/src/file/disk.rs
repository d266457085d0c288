//! The steps on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::file::FileError;
use crate::sealed::MAX_SEALED_LEN;

pub fn failed(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), source }
}

/// `PATH.name`.
pub fn beside(path: &Path, name: &str) -> PathBuf {
    let mut full = OsString::from(path);
    full.push(".");
    full.push(name);
    full.into()
}

/// Reads at most as much as a keystore can be.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let unread = |source| failed("read", path, source);
    let file = File::open(path).map_err(unread)?;
    let len = file.metadata().map_err(unread)?.len();
    if len > MAX_SEALED_LEN as u64 {
        return Err(FileError::TooLarge { path: path.to_owned(), len });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(MAX_SEALED_LEN as u64).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

/// Waits for the exclusive lock of the file at `path`, which is held until the result is dropped or the process ends.
pub fn lock(path: &Path) -> Result<File, FileError> {
    let lock_path = beside(path, "lock");
    let unlocked = |source| failed("lock", &lock_path, source);
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).create(true);
    private(&mut options);
    without_links(&mut options);
    let existed = lock_path.symlink_metadata().is_ok();
    let file = options.open(&lock_path).map_err(unlocked)?;
    if !existed && path.exists() {
        // Made by root for another user's keystore, it must not lock that user out.
        same_owner(&file, path, &lock_path)?;
    }
    file.lock().map_err(unlocked)?;
    Ok(file)
}

/// Puts bytes at `path`, where nothing may be.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // A name of this process alone: backups take no lock.
    let new = beside(path, &format!("new-{}", std::process::id()));
    write_synced(&new, bytes, None)?;
    // A link, unlike a rename, fails if something is there.
    let linked = fs::hard_link(&new, path);
    let linked = match linked {
        Err(error) if lacks_links(&error) && path.symlink_metadata().is_err() => fs::rename(&new, path),
        other => other,
    };
    remove(&new)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed("create", path, error)),
        Ok(()) => sync_folder(path),
    }
}

/// Replaces the file at `path`; what was there becomes `PATH.previous` if it is to be kept.
pub fn replace(path: &Path, bytes: &[u8], keep_previous: bool) -> Result<(), FileError> {
    let new = beside(path, "new");
    step()?;
    write_synced(&new, bytes, Some(path))?;
    step()?;
    if keep_previous {
        let (previous, staged) = (beside(path, "previous"), beside(path, "previous.new"));
        remove(&staged)?;
        match fs::hard_link(path, &staged) {
            Err(error) if lacks_links(&error) => write_synced(&staged, &read(path)?, Some(path))?,
            other => other.map_err(|source| failed("link", &staged, source))?,
        }
        step()?;
        fs::rename(&staged, &previous).map_err(|source| failed("rename", &staged, source))?;
        // rename(2) does nothing when both are the same file already, as after a kill between these steps.
        remove(&staged)?;
        step()?;
    }
    fs::rename(&new, path).map_err(|source| failed("rename", &new, source))?;
    step()?;
    sync_folder(path)
}

/// Gives the file at `path` a further name beside it that nothing has, and tells it.
pub fn keep(path: &Path) -> Result<PathBuf, FileError> {
    let mut number = 1u32;
    loop {
        let kept = beside(path, &format!("replaced-{number}"));
        match fs::hard_link(path, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
            Err(error) if lacks_links(&error) && kept.symlink_metadata().is_ok() => number += 1,
            Err(error) if lacks_links(&error) => {
                write_synced(&kept, &read(path)?, Some(path))?;
                return Ok(kept);
            }
            Err(error) => return Err(failed("keep", path, error)),
        }
    }
}

/// Writes a file for nobody else, or with owner and permissions of the file `like`, and syncs it.
fn write_synced(path: &Path, bytes: &[u8], like: Option<&Path>) -> Result<(), FileError> {
    // Left over from a kill; the lock is ours.
    remove(path)?;
    let unwritten = |source| failed("write", path, source);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    private(&mut options);
    let mut file = options.open(path).map_err(unwritten)?;
    if let Some(like) = like {
        same_owner(&file, like, path)?;
        let permissions = fs::metadata(like).map_err(|source| failed("read", like, source))?.permissions();
        file.set_permissions(permissions).map_err(unwritten)?;
    }
    file.write_all(bytes).map_err(unwritten)?;
    file.sync_all().map_err(unwritten)
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

/// Makes names in the folder of `path` durable.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", folder, source))
}

/// Whether the file system has no hard links.
fn lacks_links(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::TooManyLinks)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

/// Whoever owns the folder may have put a link there, and root may be the one who opens it.
#[cfg(unix)]
fn without_links(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW);
}

#[cfg(not(unix))]
fn without_links(_: &mut OpenOptions) {}

/// Gives `file` (at `path`) the owner of `like`, so that root can change a service's keystore.
#[cfg(unix)]
fn same_owner(file: &File, like: &Path, path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::MetadataExt;
    let theirs = fs::metadata(like).map_err(|source| failed("read", like, source))?;
    let ours = file.metadata().map_err(|source| failed("read", path, source))?;
    if (theirs.uid(), theirs.gid()) == (ours.uid(), ours.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(theirs.uid()), Some(theirs.gid()))
        .map_err(|source| failed("keep the owner (run as the owner, or as root) of", like, source))
}

#[cfg(not(unix))]
fn same_owner(_: &File, _: &Path, _: &Path) -> Result<(), FileError> {
    Ok(())
}

#[cfg(not(test))]
fn step() -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
pub use failpoint::{crash_at, step};

/// Tests end a change after any step, as a kill would: nothing after it happens.
#[cfg(test)]
mod failpoint {
    use std::cell::Cell;

    use super::*;

    thread_local!(static REMAINING: Cell<Option<u32>> = const { Cell::new(None) });

    /// The step after `steps` others fails, on this thread. None: no step fails.
    pub fn crash_at(steps: Option<u32>) {
        REMAINING.set(steps);
    }

    pub fn step() -> Result<(), FileError> {
        match REMAINING.get() {
            Some(0) => Err(failed("survive at", Path::new("a failpoint"), io::Error::other("injected"))),
            Some(left) => {
                REMAINING.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
