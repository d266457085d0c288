//! Files that several processes change: one at a time, each change at once and durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside)?;
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
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
