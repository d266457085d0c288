//! Appends records to the log.
//!
//! A record is written by a task of its own where the log is a plain file that nobody else is writing to: handing it to a thread and back
//! costs more than the write. Such a write may hang, and then holds one of the runtime's threads, of which there are two at least; the request
//! waits beside it and is refused in time, and the thread of the log, which looks every [`LOOK`], has the runtime go on by the
//! others ([`Shared::keep_going`]). Everything else goes by that thread: what waits while somebody writes, pipes and devices, a disk that was slow
//! lately. Whatever waits when the last write returned goes out in the next one.
//!
//! After each write, before anybody is told, it is looked whether the log's path still leads to what was written to, and written
//! once more where it doesn't: whoever rotates the file in whichever way, an answer of 200 has its record. A request that gave up waiting
//! meanwhile was refused, so its record isn't written, or the next line says so. A sink that fails, or falls behind by more than
//! [`QUEUE_LIMIT`], refuses requests.

use super::error::AuditError;
use super::kept::{Kept, sink_error};
use super::own::{line_of, withheld};
use super::state::{INTERVAL, State};
use crate::config::Fsync;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// Bytes that may wait for a write.
const QUEUE_LIMIT: usize = 8 * 1024 * 1024;

/// Between two tries to take the file from somebody who is about to be done.
const SHORTLY: Duration = Duration::from_micros(50);
/// How soon the thread sees that a write hangs.
const LOOK: Duration = Duration::from_millis(20);
/// A write that takes longer than this shows that the disk is slow, ...
const SLOW: Duration = Duration::from_millis(10);
/// ... and leaves the log to the thread for this long.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

/// The open log.
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    path: String,
    queue: Mutex<Queue>,
    filled: Condvar,
    kept: Mutex<Kept>,
    state: State,
    /// What serves, and has to go on while one of its threads is in a write.
    runtime: Option<Handle>,
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

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a write here ends soon, as far as is known, and the runtime has other threads.
    fn may_write_here(&self) -> bool {
        let has_threads =
            || self.runtime.as_ref().is_some_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        self.state.thread_until.load(Ordering::Relaxed) <= self.state.now() && has_threads()
    }

    /// Writes on this thread of the runtime, or leaves it to the log's own.
    fn write_here(&self, waiting: Waiting) {
        let kept = self.kept.try_lock().ok().filter(|kept| kept.is_quick() && !self.queue().closed);
        let Some(mut kept) = kept else {
            if let Err((error, done)) = self.leave_or_tell(waiting) {
                // A request that is gone doesn't wait any more.
                let _ = done.send(Err(error));
            }
            return;
        };
        if self.state.drowsy.load(Ordering::Relaxed) && self.state.drowsy.swap(false, Ordering::AcqRel) {
            self.filled.notify_one();
        }
        if !waiting.done.is_closed() {
            self.work(&mut kept, &mut vec![waiting]);
        }
    }

    /// Puts a record among those that the thread writes.
    fn leave(&self, waiting: Waiting) -> Result<(), AuditError> {
        self.leave_or_tell(waiting).map_err(|(error, _)| error)
    }

    fn leave_or_tell(
        &self,
        waiting: Waiting,
    ) -> Result<(), (AuditError, oneshot::Sender<Result<(), AuditError>>)> {
        let mut queue = self.queue();
        if queue.closed {
            return Err((AuditError::Closed, waiting.done));
        }
        if queue.bytes + waiting.record.len() > QUEUE_LIMIT {
            return Err((AuditError::Full, waiting.done));
        }
        queue.bytes += waiting.record.len();
        queue.waiting.push(waiting);
        if std::mem::take(&mut queue.idle) {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Writes, and remembers how long it took.
    fn work(&self, kept: &mut Kept, waiting: &mut Vec<Waiting>) {
        let begun = self.state.now();
        self.state.written.fetch_add(1, Ordering::Relaxed);
        self.state.working.store(begun, Ordering::Relaxed);
        self.write(kept, waiting);
        self.state.working.store(0, Ordering::Relaxed);
        let ended = self.state.now();
        if Duration::from_micros(ended - begun) > SLOW {
            self.state.thread_until.store(ended + SLOW_PAUSE.as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// A thread of the runtime that is held may be the one that was to look for what has arrived, and its tasks wait behind it: a task from
    /// outside wakes another thread, which looks, and takes them.
    fn keep_going(&self) {
        if self.state.works_for().is_some_and(|time| time >= LOOK)
            && let Some(runtime) = &self.runtime
        {
            runtime.spawn(std::future::ready(()));
        }
    }
}

impl AuditLog {
    /// Opens the file for appending (mode 0600 when it is new) and starts the writing thread. May wait for the disk.
    pub fn open(path: &Path, fsync: Fsync) -> Result<AuditLog, AuditError> {
        let kept = Kept::open(path, fsync)?;
        let state = State::new();
        let shared = Arc::new(Shared {
            path: path.display().to_string(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            kept: Mutex::new(kept),
            state,
            runtime: Handle::try_current().ok(),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || of_thread.run());
        let thread = thread.map_err(|error| sink_error(path, &error))?;
        Ok(AuditLog { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends `record` (whole lines) and waits until it is written, and synced where that is configured.
    pub async fn write(&self, record: String) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        let waiting = Waiting { record, done };
        if self.shared.may_write_here() {
            let shared = self.shared.clone();
            // A task of its own, so that this one can be refused while it hangs.
            tokio::spawn(async move { shared.write_here(waiting) });
        } else {
            self.shared.leave(waiting)?;
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
    fn run(&self) {
        let mut waiting = Vec::new();
        loop {
            let closed = self.wait(&mut waiting);
            let Some(mut kept) = self.take(closed || !waiting.is_empty()) else { continue };
            // Those that are gone were refused.
            waiting.retain(|waiting: &Waiting| !waiting.done.is_closed());
            if !waiting.is_empty() {
                self.work(&mut kept, &mut waiting);
            }
            if closed || kept.looked.elapsed() >= INTERVAL {
                self.state.working.store(self.state.now(), Ordering::Relaxed);
                kept.look(closed);
                if self.state.failing.load(Ordering::Relaxed) {
                    // Nobody may ask, because `/ping` says that records can't be written.
                    self.write(&mut kept, &mut Vec::new());
                }
                self.state.working.store(0, Ordering::Relaxed);
            }
            if closed {
                return;
            }
        }
    }

    /// The file, when nobody else is at work on it. While somebody hangs in it, the runtime goes on; `None` where there is nothing to do.
    fn take(&self, is_needed: bool) -> Option<MutexGuard<'_, Kept>> {
        loop {
            match self.kept.try_lock() {
                Ok(kept) => return Some(kept),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            self.keep_going();
            if !is_needed && self.queue().waiting.is_empty() && self.state.works_for().is_none() {
                return None;
            }
            thread::sleep(if self.state.works_for().is_some_and(|time| time >= LOOK) {
                LOOK
            } else {
                SHORTLY
            });
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

    /// Waits for records, or until it is time to look. Gives whether the log is closed and nothing is left.
    fn wait(&self, waiting: &mut Vec<Waiting>) -> bool {
        let mut queue = self.queue();
        let before = self.state.written.swap(0, Ordering::Relaxed);
        while queue.waiting.is_empty() && !queue.closed && waiting.is_empty() {
            queue.idle = true;
            // Where nobody writes, nobody has to be watched.
            self.state.drowsy.store(before == 0, Ordering::Release);
            let time = if before == 0 { INTERVAL } else { LOOK };
            let (next, timeout) =
                self.filled.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if timeout.timed_out() || !self.state.drowsy.swap(false, Ordering::AcqRel) {
                break;
            }
        }
        queue.idle = false;
        queue.bytes = 0;
        waiting.append(&mut queue.waiting);
        queue.closed && waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
