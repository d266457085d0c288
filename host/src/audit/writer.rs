//! Writes records in groups: whatever waits when the last write returned goes out in the next one.
//!
//! A thread of its own writes, so that a sink that hangs holds up no request beyond its budget; a sink that fails, or
//! falls behind by more than [`QUEUE_LIMIT`], refuses requests.

use super::record::{Line, rfc3339};
use crate::config::Fsync;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Bytes that may wait for a write.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;
/// Between two fsyncs, and between two looks whether the file was moved away.
const INTERVAL: Duration = Duration::from_secs(1);

/// Why a record isn't written. The request that it is for must be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Opening, writing or syncing failed.
    #[error(
        "the audit log {path} can't be written: {why}; free space or mend it, and it is used again by itself"
    )]
    Sink {
        /// Which.
        path: String,
        /// What the system says.
        why: String,
    },
    /// More waits than is kept.
    #[error("the audit log can't keep up; its disk is too slow for this rate or hangs")]
    Full,
    /// The log is closed.
    #[error("the audit log is closed")]
    Closed,
}

/// The open log.
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), AuditError>>>,
    idle: bool,
    closed: bool,
    /// The last write failed.
    failing: bool,
    /// Since when the thread is in a write.
    writing: Option<Instant>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditLog {
    /// Opens the file for appending (mode 0600 when it is new) and starts the writing thread.
    pub fn open(path: &Path, fsync: Fsync) -> Result<AuditLog, AuditError> {
        let sink = Sink::open(path).map_err(|error| sink_error(path, &error))?;
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new() });
        let writer = Writer {
            sink,
            fsync,
            shared: shared.clone(),
            synced: true,
            syncing: None,
            looked: Instant::now(),
        };
        let thread = thread::Builder::new().name("audit".into()).spawn(move || writer.run());
        let thread = thread.map_err(|error| sink_error(path, &error))?;
        Ok(AuditLog { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends `record` (whole lines) and waits until it is written, and synced where that is configured.
    pub async fn write(&self, record: &str) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.closed {
                return Err(AuditError::Closed);
            }
            if queue.bytes.len() + record.len() > QUEUE_LIMIT {
                return Err(AuditError::Full);
            }
            queue.bytes.extend_from_slice(record.as_bytes());
            queue.waiting.push(done);
            if std::mem::take(&mut queue.idle) {
                self.shared.filled.notify_one();
            }
        }
        written.await.unwrap_or(Err(AuditError::Closed))
    }

    /// Whether records can be written, as far as is known: the last write succeeded, and none hangs.
    pub fn is_writable(&self) -> bool {
        let queue = self.shared.queue();
        !queue.failing && queue.writing.is_none_or(|since| since.elapsed() < INTERVAL)
    }

    /// Writes and syncs what waits, and ends the thread.
    pub fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has failed its waiters already; there is nothing left to do about it.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    sink: Sink,
    fsync: Fsync,
    shared: Arc<Shared>,
    synced: bool,
    syncing: Option<JoinHandle<io::Result<()>>>,
    looked: Instant,
}

impl Writer {
    fn run(mut self) {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        loop {
            let closed = {
                let mut queue = self.shared.queue();
                while queue.bytes.is_empty() && !queue.closed {
                    queue.idle = true;
                    let (next, timeout) = self
                        .shared
                        .filled
                        .wait_timeout(queue, INTERVAL)
                        .unwrap_or_else(PoisonError::into_inner);
                    queue = next;
                    if timeout.timed_out() {
                        break;
                    }
                }
                queue.idle = false;
                std::mem::swap(&mut queue.bytes, &mut bytes);
                std::mem::swap(&mut queue.waiting, &mut waiting);
                queue.writing = (!bytes.is_empty()).then(Instant::now);
                queue.closed && bytes.is_empty()
            };
            if !bytes.is_empty() {
                let result = self.write(&bytes);
                self.wrote(result.is_ok());
                if let Err(error) = &result {
                    tracing::error!(%error, requests = waiting.len(), "requests are refused");
                }
                for done in waiting.drain(..) {
                    // A request that is gone doesn't wait any more.
                    let _ = done.send(result.clone());
                }
                bytes.clear();
                bytes.shrink_to(1024 * 1024);
            }
            if closed || self.looked.elapsed() >= INTERVAL {
                self.look(closed);
            }
            if closed {
                return;
            }
        }
    }

    fn wrote(&self, succeeded: bool) {
        let mut queue = self.shared.queue();
        queue.failing = !succeeded;
        queue.writing = None;
    }

    /// While nobody asks, because `/ping` says that records can't be written, a failed sink is tried again from here.
    fn try_again(&mut self) {
        if !self.shared.queue().failing {
            return;
        }
        let mut line = Line::start();
        line.text("type", "audit-log-mended");
        line.text("time", &rfc3339(SystemTime::now()));
        if self.write(line.finish().as_bytes()).is_ok() {
            self.wrote(true);
            tracing::info!(path = %self.sink.path.display(), "the audit log can be written again");
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        let result = self.sink.append(bytes).and_then(|()| {
            self.synced = false;
            if self.fsync == Fsync::Group { self.sync() } else { Ok(()) }
        });
        result.map_err(|error| sink_error(&self.sink.path, &error))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sink.file.sync_data()?;
        self.synced = true;
        Ok(())
    }

    /// Syncs in a thread of its own: a disk that is slow to sync holds up no record, which only has to be written.
    fn sync_beside(&mut self) -> io::Result<()> {
        if self.syncing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        if let Some(Ok(Err(error))) = self.syncing.take().map(JoinHandle::join) {
            self.synced = false;
            return Err(error);
        }
        if !self.synced {
            let file = self.sink.file.try_clone()?;
            self.syncing =
                Some(thread::Builder::new().name("audit-sync".into()).spawn(move || file.sync_data())?);
            self.synced = true;
        }
        Ok(())
    }

    /// Once a second and at the end: syncs where that is configured, and follows a file that was rotated away.
    fn look(&mut self, closed: bool) {
        self.looked = Instant::now();
        let synced = match self.fsync {
            Fsync::Never => Ok(()),
            Fsync::Interval if !closed => self.sync_beside(),
            // The last one, and after an fsync that is under way, as it may be of an older file.
            Fsync::Interval | Fsync::Group => {
                let before = self.syncing.take().map_or(Ok(Ok(())), JoinHandle::join).unwrap_or(Ok(()));
                let after = if self.synced && !closed { Ok(()) } else { self.sync() };
                before.and(after)
            }
        };
        if let Err(error) = synced {
            tracing::error!(%error, "can't sync the audit log");
        }
        if let Err(error) = self.sink.reopen_if_moved() {
            tracing::error!(%error, path = %self.sink.path.display(), "can't open the audit log anew; the old file is used");
        }
        self.try_again();
    }
}

fn sink_error(path: &Path, error: &io::Error) -> AuditError {
    AuditError::Sink { path: path.display().to_string(), why: error.to_string() }
}

struct Sink {
    path: PathBuf,
    file: File,
    /// A write ended in the middle of a line.
    torn: bool,
}

impl Sink {
    fn open(path: &Path) -> io::Result<Sink> {
        let file = open(path)?;
        // A line that a crash cut short is ended, so that the next record is readable.
        let torn = ends_torn(path, &file)?;
        Ok(Sink { path: path.to_owned(), file, torn })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Nobody would ever read what is written to a removed file; a file that was renamed is still read.
        if self.file.metadata()?.nlink() == 0 {
            *self = Sink::open(&self.path.clone())?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let same = match self.path.metadata() {
            Ok(there) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !same {
            *self = Sink::open(&self.path.clone())?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn ends_torn(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, metadata.len() - 1)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
