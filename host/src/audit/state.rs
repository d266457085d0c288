//! What is known of the log without waiting for who writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two fsyncs, and between two looks whether the file was moved away. A write that takes longer hangs.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the sink, without waiting for who writes.
pub(super) struct State {
    pub(super) opened: Instant,
    /// The last write failed.
    pub(super) failing: AtomicBool,
    /// How many writes were begun since the thread looked last.
    pub(super) written: AtomicU64,
    /// The thread sleeps for long, until somebody begins to write.
    pub(super) drowsy: AtomicBool,
    /// Until when only the thread writes, in microseconds after `opened`.
    pub(super) thread_until: AtomicU64,
    /// Since when somebody is at work on the file, in microseconds after `opened` and at least 1; 0 for nobody.
    pub(super) working: AtomicU64,
    /// How often the file was found shorter than it was left.
    pub(super) truncated: AtomicU64,
}

impl State {
    pub(super) fn new() -> State {
        State {
            opened: Instant::now(),
            failing: AtomicBool::new(false),
            written: AtomicU64::new(0),
            drowsy: AtomicBool::new(false),
            thread_until: AtomicU64::new(0),
            working: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// For how long somebody has been at work on the file, if that is longer than any disk takes.
    pub(super) fn hangs_for(&self) -> Option<Duration> {
        self.works_for().filter(|time| *time >= INTERVAL)
    }

    pub(super) fn works_for(&self) -> Option<Duration> {
        let since = self.working.load(Ordering::Relaxed);
        (since != 0).then(|| Duration::from_micros(self.now().saturating_sub(since)))
    }
}
