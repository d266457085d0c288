//! Files that several processes change: one at a time, each change at once and durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// For how long another process is waited for that changes a file. It writes a few lines; one that hangs must not hold up
/// health checks.
const LOCK_TIME: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// Keeps other processes from changing a file, until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    lock_beside(path, ".lock", LOCK_TIME)
}

/// Locks a file beside another, which stays. Fails with `TimedOut` where another process keeps it locked.
pub(crate) fn lock_beside(path: &Path, ending: &str, patience: Duration) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    let beside = PathBuf::from(beside);
    let existed = beside.symlink_metadata().is_ok();
    let mut options = OpenOptions::new();
    // Whoever owns the folder may have put a link there, and root may be the one who asks.
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let lock = options.open(&beside).map_err(|error| link_or(error, &beside))?;
    if !existed {
        give_to_owner(&lock, &beside)?;
    }
    let end = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Replaces a file's content at once, and durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        // Left over from a kill, or put there by somebody.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&new).map_err(|error| link_or(error, &new))?;
    give_to_owner(&file, &new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Makes a folder for its parent's owner alone, if it isn't there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    give_to_owner(&File::open(path)?, path)
}

/// What root makes in another user's folder is that user's: the service must be able to use it after a command of root's.
fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    // SAFETY: geteuid has no preconditions and can't fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let owner = folder.symlink_metadata()?;
    if owner.is_symlink() && owner.uid() != 0 {
        return Err(io::Error::other("its folder is a link that another user has made"));
    }
    let owner = folder.metadata()?;
    match owner.uid() {
        0 => Ok(()),
        user => std::os::unix::fs::fchown(file, Some(user), Some(owner.gid())),
    }
}

fn link_or(error: io::Error, path: &Path) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => {
            io::Error::other(format!("{} is a link, which nothing of ours is: remove it", path.display()))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("uses"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for ending in [".lock", ".new"] {
            std::os::unix::fs::symlink(&victim, folder.path().join(format!("uses{ending}"))).unwrap();
        }
        assert!(lock(&path).unwrap_err().to_string().contains("is a link"));
        replace(&path, b"new").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read_to_string(&victim).unwrap()),
            (b"new".to_vec(), "precious".into())
        );
        std::os::unix::fs::symlink(folder.path().join("nowhere"), folder.path().join("other.lock")).unwrap();
        assert!(lock(&folder.path().join("other")).is_err());
        assert!(!folder.path().join("nowhere").exists(), "nothing is made through it");
    }

    #[test]
    fn what_root_makes_is_the_folders_owners() {
        // SAFETY: geteuid has no preconditions and can't fail.
        if unsafe { libc::geteuid() } != 0 {
            println!("skipped: only root gives files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12345), Some(54321)).unwrap();
        let pins = theirs.join("pins");
        make_folder(&pins).unwrap();
        let path = pins.join("uses");
        drop(lock(&path).unwrap());
        replace(&path, b"new").unwrap();
        for made in [&pins, &path, &pins.join("uses.lock")] {
            let owner = made.metadata().unwrap();
            assert_eq!((owner.uid(), owner.gid()), (12345, 54321), "{}", made.display());
        }
    }
}
