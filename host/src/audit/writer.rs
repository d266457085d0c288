//! Appends records to the log, in a thread of its own: a file system that hangs holds up nothing that serves.
//!
//! Whatever waits when the last write returned goes out in the next one. After each, before anybody is told, the thread looks whether
//! the log's path still leads to what it wrote to, and writes once more where it doesn't: whoever rotates the file in whichever way, an answer
//! of 200 has its record. A request that gave up waiting meanwhile was refused, so its record isn't written, or the next line says so. A sink
//! that fails, or falls behind by more than [`QUEUE_LIMIT`], refuses requests.

use super::error::AuditError;
use super::kept::{Kept, sink_error};
use super::record::{Line, rfc3339};
use crate::config::Fsync;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Bytes that may wait for a write.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;
/// Between two fsyncs, and between two looks whether the file was moved away. A write that takes longer hangs.
const INTERVAL: Duration = Duration::from_secs(1);

/// The open log.
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    path: String,
    queue: Mutex<Queue>,
    filled: Condvar,
    state: State,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    bytes: usize,
    idle: bool,
    closed: bool,
}

/// A record, and who waits for it.
struct Waiting {
    record: String,
    done: oneshot::Sender<Result<(), AuditError>>,
}

/// What is known of the sink, without waiting for who writes.
struct State {
    opened: Instant,
    /// The last write failed.
    failing: AtomicBool,
    /// Since when the thread is at work on the file, in microseconds after `opened` and at least 1; 0 while it waits.
    working: AtomicU64,
    /// How often the file was found shorter than it was left.
    truncated: AtomicU64,
}

impl State {
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// For how long the thread has been at work on the file, if that is longer than any disk takes.
    fn hangs_for(&self) -> Option<Duration> {
        let since = self.working.load(Ordering::Relaxed);
        let time = Duration::from_micros(self.now().saturating_sub(since));
        (since != 0 && time >= INTERVAL).then_some(time)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditLog {
    /// Opens the file for appending (mode 0600 when it is new) and starts the writing thread. May wait for the disk.
    pub fn open(path: &Path, fsync: Fsync) -> Result<AuditLog, AuditError> {
        let kept = Kept::open(path, fsync)?;
        let opened = Instant::now();
        let state = State {
            opened,
            failing: AtomicBool::new(false),
            working: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
        };
        let shared = Arc::new(Shared {
            path: path.display().to_string(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            state,
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || of_thread.run(kept));
        let thread = thread.map_err(|error| sink_error(path, &error))?;
        Ok(AuditLog { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends `record` (whole lines) and waits until it is written, and synced where that is configured.
    pub async fn write(&self, record: String) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.closed {
                return Err(AuditError::Closed);
            }
            if queue.bytes + record.len() > QUEUE_LIMIT {
                return Err(AuditError::Full);
            }
            queue.bytes += record.len();
            queue.waiting.push(Waiting { record, done });
            if std::mem::take(&mut queue.idle) {
                self.shared.filled.notify_one();
            }
        }
        written.await.unwrap_or(Err(AuditError::Closed))
    }

    /// Whether records can be written, as far as is known: the last write succeeded, and none hangs.
    pub fn is_writable(&self) -> bool {
        let state = &self.shared.state;
        state.hangs_for().is_none() && !state.failing.load(Ordering::Relaxed)
    }

    /// Why nothing is written or refused, in words for an operator, if the sink hangs.
    pub fn hangs(&self) -> Option<String> {
        let seconds = self.shared.state.hangs_for()?.as_secs();
        Some(format!(
            "the audit log {} has taken nothing for {seconds} s: its file system hangs, or nobody reads the pipe",
            self.shared.path
        ))
    }

    /// How often the file was found shorter than it was left, since the start.
    pub fn truncated(&self) -> u64 {
        self.shared.state.truncated.load(Ordering::Relaxed)
    }

    /// Writes and syncs what waits, and ends the thread. Waits as long as the disk takes.
    pub fn close(&self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has failed its waiters already; there is nothing left to do about it.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for AuditLog {
    /// Ends the thread, and doesn't wait: it may hang.
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    /// The thread: writes what waits, and looks after the file once a second.
    fn run(&self, mut kept: Kept) {
        let mut waiting = Vec::new();
        loop {
            let closed = self.wait(&mut waiting);
            self.state.working.store(self.state.now(), Ordering::Relaxed);
            // Those that are gone were refused.
            waiting.retain(|waiting: &Waiting| !waiting.done.is_closed());
            if !waiting.is_empty() {
                self.write(&mut kept, &mut waiting);
            }
            if closed || kept.looked.elapsed() >= INTERVAL {
                kept.look(closed);
                if self.state.failing.load(Ordering::Relaxed) {
                    // Nobody may ask, because `/ping` says that records can't be written.
                    self.write(&mut kept, &mut Vec::new());
                }
            }
            self.state.working.store(0, Ordering::Relaxed);
            if closed {
                return;
            }
        }
    }

    /// Writes these records, and tells who waits for them.
    fn write(&self, kept: &mut Kept, waiting: &mut Vec<Waiting>) {
        let state = &self.state;
        let was_failing = state.failing.load(Ordering::Relaxed);
        let mended = if was_failing { line_of("audit-log-mended") } else { String::new() };
        let records: String =
            std::iter::once(mended.as_str()).chain(waiting.iter().map(|it| it.record.as_str())).collect();
        let result = kept.write(records.as_bytes());
        state.failing.store(result.is_err(), Ordering::Relaxed);
        let result = result.map(|appended| {
            if was_failing {
                tracing::info!(path = self.path, "the audit log can be written again");
            }
            if appended.was_shortened {
                self.tell_of_truncation(kept);
            }
        });
        if let Err(error) = &result
            && kept.told.as_ref() != Some(error)
        {
            tracing::error!(%error, "requests are refused, until the audit log can be written again");
        }
        kept.told = result.as_ref().err().cloned();
        for Waiting { record, done } in waiting.drain(..) {
            if done.send(result.clone()).is_err() && result.is_ok() {
                // It gave up while its record was being written.
                let _ = kept.write(withheld(&record).as_bytes());
            }
        }
    }

    fn tell_of_truncation(&self, kept: &mut Kept) {
        self.state.truncated.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            path = self.path,
            "the audit log was cut short by somebody (logrotate's copytruncate does that): records may be lost; rename it, and it is made anew"
        );
        let _ = kept.write(line_of("audit-log-truncated").as_bytes());
    }

    /// Waits for records, or for a second. Gives whether the log is closed and nothing is left.
    fn wait(&self, waiting: &mut Vec<Waiting>) -> bool {
        let mut queue = self.queue();
        while queue.waiting.is_empty() && !queue.closed {
            queue.idle = true;
            let (next, timeout) =
                self.filled.wait_timeout(queue, INTERVAL).unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if timeout.timed_out() {
                break;
            }
        }
        queue.idle = false;
        queue.bytes = 0;
        std::mem::swap(&mut queue.waiting, waiting);
        queue.closed && waiting.is_empty()
    }
}

/// A record of the log itself.
fn line_of(kind: &str) -> String {
    let mut line = Line::start();
    line.text("type", kind);
    line.text("time", &rfc3339(SystemTime::now()));
    line.finish()
}

/// Says that the answer of a record that stands in the log didn't leave: the request was refused, as its record took too long.
fn withheld(record: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
    let mut line = Line::start();
    line.text("type", "answer-withheld");
    line.text("time", &rfc3339(SystemTime::now()));
    for (name, value) in
        [("keyStore", &record["keyStore"]), ("kmsRequestId", &record["requestMetadata"]["kmsRequestId"])]
    {
        if let Some(text) = value.as_str() {
            line.text(name, text);
        }
    }
    line.finish()
}

#[cfg(test)]
mod tests;
