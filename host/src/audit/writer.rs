//! Appends records to the log.
//!
//! A request writes its own record where the log is a plain file that nobody else is writing to: handing it to a thread
//! and waiting for that costs twice the write. Otherwise a thread writes, in groups: whatever waits when its last
//! write returned goes out in the next one. So a pipe or device that hangs, or an fsync for every group, holds up no
//! request beyond its budget. A disk that hangs in a write holds up one request, with the thread that runs it, and the
//! others none: they find the log taken and leave theirs to the thread. A sink that fails, or falls behind by more
//! than [`QUEUE_LIMIT`], refuses requests.

use super::record::{Line, rfc3339};
use super::sink::Sink;
use crate::config::Fsync;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Bytes that may wait for a write.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;
/// Between two fsyncs, and between two looks whether the file was moved away.
const INTERVAL: Duration = Duration::from_secs(1);
/// A write that takes longer than this shows that the disk is slow, ...
const SLOW: Duration = Duration::from_millis(25);
/// ... and leaves the log to the thread for this long.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

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
    writer: Mutex<Writer>,
    state: State,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), AuditError>>>,
    idle: bool,
    closed: bool,
}

/// What is known of the sink, without waiting for who writes.
struct State {
    opened: Instant,
    /// The last write failed.
    failing: AtomicBool,
    /// Since when somebody is in a write, in microseconds after `opened` and at least 1; 0 for nobody.
    writing: AtomicU64,
    /// Until when only the thread writes, in microseconds after `opened`.
    thread_until: AtomicU64,
}

impl State {
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn is_writable(&self) -> bool {
        let since = self.writing.load(Ordering::Relaxed);
        let hangs = since != 0 && self.now().saturating_sub(since) >= INTERVAL.as_micros() as u64;
        !hangs && !self.failing.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on the caller's thread, where that ends soon: to a plain file that nobody else is writing to and that
    /// wasn't slow lately. `None` leaves it to the thread.
    fn write_here(&self, record: &[u8]) -> Option<Result<(), AuditError>> {
        if self.state.thread_until.load(Ordering::Relaxed) > self.state.now() {
            return None;
        }
        let mut writer = self.writer.try_lock().ok()?;
        let here = writer.sink.is_plain && writer.fsync != Fsync::Group && !writer.closed;
        here.then(|| self.write(&mut writer, record, 1))
    }

    fn write(&self, writer: &mut Writer, bytes: &[u8], requests: usize) -> Result<(), AuditError> {
        let state = &self.state;
        let begun = state.now();
        state.writing.store(begun, Ordering::Relaxed);
        let result = writer.write(bytes);
        state.failing.store(result.is_err(), Ordering::Relaxed);
        state.writing.store(0, Ordering::Relaxed);
        let ended = state.now();
        if Duration::from_micros(ended - begun) > SLOW {
            state.thread_until.store(ended + SLOW_PAUSE.as_micros() as u64, Ordering::Relaxed);
        }
        if let Err(error) = &result {
            tracing::error!(%error, requests, "requests are refused");
        }
        result
    }
}

impl AuditLog {
    /// Opens the file for appending (mode 0600 when it is new) and starts the writing thread.
    pub fn open(path: &Path, fsync: Fsync) -> Result<AuditLog, AuditError> {
        let sink = Sink::open(path).map_err(|error| sink_error(path, &error))?;
        let opened = Instant::now();
        let writer = Writer { sink, fsync, synced: true, syncing: None, looked: opened, closed: false };
        let state = State {
            opened,
            failing: AtomicBool::new(false),
            writing: AtomicU64::new(0),
            thread_until: AtomicU64::new(0),
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            writer: Mutex::new(writer),
            state,
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || of_thread.run());
        let thread = thread.map_err(|error| sink_error(path, &error))?;
        Ok(AuditLog { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends `record` (whole lines) and waits until it is written, and synced where that is configured.
    pub async fn write(&self, record: &str) -> Result<(), AuditError> {
        if let Some(result) = self.shared.write_here(record.as_bytes()) {
            return result;
        }
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
        self.shared.state.is_writable()
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

impl Shared {
    /// The thread: writes what waits, and looks after the file once a second.
    fn run(&self) {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        loop {
            let closed = self.wait(&mut bytes, &mut waiting);
            let mut writer = self.writer();
            if !bytes.is_empty() {
                let result = self.write(&mut writer, &bytes, waiting.len());
                for done in waiting.drain(..) {
                    // A request that is gone doesn't wait any more.
                    let _ = done.send(result.clone());
                }
                bytes.clear();
                bytes.shrink_to(1024 * 1024);
            }
            if closed || writer.looked.elapsed() >= INTERVAL {
                writer.look(closed);
                self.try_again(&mut writer);
            }
            if closed {
                return;
            }
        }
    }

    /// Waits for records, or for a second. Gives whether the log is closed and nothing is left.
    fn wait(&self, bytes: &mut Vec<u8>, waiting: &mut Vec<oneshot::Sender<Result<(), AuditError>>>) -> bool {
        let mut queue = self.queue();
        while queue.bytes.is_empty() && !queue.closed {
            queue.idle = true;
            let (next, timeout) =
                self.filled.wait_timeout(queue, INTERVAL).unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if timeout.timed_out() {
                break;
            }
        }
        queue.idle = false;
        std::mem::swap(&mut queue.bytes, bytes);
        std::mem::swap(&mut queue.waiting, waiting);
        queue.closed && bytes.is_empty()
    }

    /// While nobody asks, because `/ping` says that records can't be written, a failed sink is tried again from here.
    fn try_again(&self, writer: &mut Writer) {
        if !self.state.failing.load(Ordering::Relaxed) {
            return;
        }
        let mut line = Line::start();
        line.text("type", "audit-log-mended");
        line.text("time", &rfc3339(SystemTime::now()));
        if writer.write(line.finish().as_bytes()).is_ok() {
            self.state.failing.store(false, Ordering::Relaxed);
            tracing::info!(path = %writer.sink.path.display(), "the audit log can be written again");
        }
    }
}

struct Writer {
    sink: Sink,
    fsync: Fsync,
    synced: bool,
    syncing: Option<JoinHandle<io::Result<()>>>,
    looked: Instant,
    closed: bool,
}

impl Writer {
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
        self.closed = closed;
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
    }
}

fn sink_error(path: &Path, error: &io::Error) -> AuditError {
    AuditError::Sink { path: path.display().to_string(), why: error.to_string() }
}

#[cfg(test)]
mod tests;
