//! When requests are due.
//!
//! In an open loop a request is due at a time that doesn't depend on the answers before it, and its latency counts from
//! then, so that a server that stalls can't hide the requests that it kept from being sent (coordinated omission).

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::plan::Pace;
use crate::connection::REQUEST_TIMEOUT;

/// One thread's part of the requests.
pub(super) struct Schedule {
    pace: Pace,
    start: Instant,
    end: Instant,
    /// Closed loop: requests taken by all threads. Open loop: unused.
    shared: Arc<AtomicU64>,
    limit: u64,
    /// Open loop: this thread's requests are `offset`, `offset + step`, ...
    step: u64,
    next: Cell<u64>,
    /// Held by the task whose request is the next due.
    timer: Option<Arc<Mutex<Timer>>>,
}

/// A request that is to be sent.
pub(super) struct Turn {
    /// `None`: now.
    pub(super) due: Option<Instant>,
    timer: Option<OwnedMutexGuard<Timer>>,
}

impl Schedule {
    /// The part of thread `index` among `threads`. At most `limit` requests in all are due before `duration` is over.
    pub(super) fn new(
        pace: Pace,
        (start, duration, limit): (Instant, Duration, u64),
        (index, threads): (usize, usize),
        shared: Arc<AtomicU64>,
    ) -> std::io::Result<Rc<Self>> {
        let timer = match pace {
            Pace::Closed => None,
            Pace::Rate(_) => Some(Arc::new(Mutex::new(Timer::new()?))),
        };
        Ok(Rc::new(Self {
            pace,
            start,
            end: start + duration,
            shared,
            limit,
            step: threads as u64,
            next: Cell::new(index as u64),
            timer,
        }))
    }

    /// The next request, or `None` when all have been taken. Call [`Turn::wait`] before sending it.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let (Pace::Rate(rate), Some(timer)) = (self.pace, &self.timer) else {
            let in_time = Instant::now() < self.end;
            let left = in_time && self.shared.fetch_add(1, Ordering::Relaxed) < self.limit;
            return left.then_some(Turn { due: None, timer: None });
        };
        let guard = Arc::clone(timer).lock_owned().await;
        let number = self.next.get();
        let due = self.start + Duration::from_secs_f64(number as f64 / rate);
        // Overdue requests are still sent for as long as a client would have waited, then counted as unsent.
        if number >= self.limit || due >= self.end || Instant::now() >= self.end + REQUEST_TIMEOUT {
            return None;
        }
        self.next.set(number + self.step);
        Some(Turn { due: Some(due), timer: Some(guard) })
    }

    /// Requests of this thread that fell due but were never sent.
    pub(super) fn unsent(&self) -> u64 {
        let Pace::Rate(rate) = self.pace else { return 0 };
        let duration = self.end.saturating_duration_since(self.start);
        let due_in_all = ((duration.as_secs_f64() * rate).ceil() as u64).min(self.limit);
        due_in_all.saturating_sub(self.next.get()).div_ceil(self.step)
    }
}

impl Turn {
    /// Waits until the request is due, and lets the next one wait.
    pub(super) async fn wait(&mut self) -> std::io::Result<()> {
        if let (Some(due), Some(timer)) = (self.due, self.timer.take()) {
            timer.wait_until(due).await?;
        }
        Ok(())
    }
}

/// tokio's own timer counts in milliseconds, which is more than the latencies to be measured.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` keeps its one descriptor open until it is dropped, with the `AsyncFd` that takes it.
        let registered = unsafe { AsyncFd::register(descriptor) };
        Ok(Self(registered?))
    }

    async fn wait_until(&self, due: Instant) -> std::io::Result<()> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let value = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            // Setting the timer makes it unready, so there is no need to read it.
            self.0.readable().await?.clear_ready();
        }
    }
}
