//! The open connections: their number is bounded, and at the bound the oldest idle stranger makes room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Streams of one HTTP/2 connection at a time.
pub const STREAMS: u32 = 128;

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    next: AtomicU64,
    gone: Notify,
    /// Closed to make room for others, since the start.
    pub evicted: AtomicU64,
    /// Turned away because all were busy or known, since the start.
    pub turned_away: AtomicU64,
}

/// What one connection is doing.
pub struct Activity {
    start: Instant,
    /// Requests in service.
    busy: AtomicUsize,
    /// Milliseconds from `start`, plus 1, at which an incomplete head began; 0 for none.
    head: AtomicU64,
    /// Milliseconds from `start` at which it was last done with something.
    idle: AtomicU64,
    /// A request on it was authenticated.
    known: AtomicBool,
    /// Its next answer is the last.
    closing: AtomicBool,
    /// Says that it should close.
    pub close: Notify,
}

/// A place among the open connections, given back when the connection and every request that came by it are done.
pub struct Slot {
    id: u64,
    all: Arc<Connections>,
    /// Of this connection.
    pub activity: Arc<Activity>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.lock().len()
    }

    /// A place for a new connection. With `limit` taken, the oldest one that is idle and never had an authenticated
    /// request is told to close; where there is none, there is no place.
    pub fn take(self: &Arc<Self>, limit: usize) -> Option<Arc<Slot>> {
        let mut open = self.lock();
        if open.len() >= limit {
            let stranger = open.iter().find(|(_, activity)| activity.is_idle_stranger()).map(|(id, _)| *id);
            let Some(activity) = stranger.and_then(|id| open.remove(&id)) else {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            self.evicted.fetch_add(1, Ordering::Relaxed);
            activity.close.notify_one();
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new());
        open.insert(id, activity.clone());
        Some(Arc::new(Slot { id, all: self.clone(), activity }))
    }

    /// Waits until none is open.
    pub async fn all_gone(&self) {
        loop {
            let gone = self.gone.notified();
            if self.open() == 0 {
                return;
            }
            gone.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        open.remove(&self.id);
        if open.is_empty() {
            self.all.gone.notify_waiters();
        }
    }
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            start: Instant::now(),
            busy: AtomicUsize::new(0),
            head: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            known: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes came in.
    pub fn received(&self) {
        if self.busy.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// A head is complete and its request in service until the guard goes.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// A request was authenticated.
    pub fn is_known_now(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Has the next answer say that the connection closes, and says whether no request is in service.
    pub fn closes_after_the_next(&self) -> bool {
        self.closing.store(true, Ordering::Relaxed);
        self.busy.load(Ordering::Relaxed) == 0
    }

    /// Whether the next answer is the connection's last.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// How many requests are in service.
    pub fn in_service(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether no request on it was authenticated yet.
    pub fn is_stranger(&self) -> bool {
        !self.known.load(Ordering::Relaxed)
    }

    fn is_idle_stranger(&self) -> bool {
        self.is_stranger() && self.busy.load(Ordering::Relaxed) == 0
    }

    /// Milliseconds until it is to be closed for doing nothing, if nothing happens; `None` when they are over.
    /// A head may take `head_ms`; idle, a known client has `idle_ms` and a stranger `head_ms`.
    pub fn patience(&self, head_ms: u64, idle_ms: u64) -> Option<u64> {
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Some(head_ms);
        }
        let end = match self.head.load(Ordering::Relaxed) {
            0 => {
                let limit = if self.known.load(Ordering::Relaxed) { idle_ms } else { head_ms };
                self.idle.load(Ordering::Relaxed).saturating_add(limit)
            }
            head => head.saturating_add(head_ms),
        };
        end.checked_sub(self.now()).filter(|left| *left > 0)
    }
}

/// A request in service.
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle.store(self.0.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_the_oldest_idle_stranger_makes_room() {
        let all = Arc::new(Connections::default());
        let first = all.take(3).unwrap();
        let second = all.take(3).unwrap();
        let third = all.take(3).unwrap();
        first.activity.is_known_now();
        let busy = third.activity.begin();
        let fourth = all.take(3).unwrap();
        assert_eq!(all.open(), 3);
        drop(second);
        assert_eq!(all.open(), 3, "its place is taken already");
        let _busy_too = fourth.activity.begin();
        assert!(all.take(3).is_none(), "known and busy ones stay");
        drop(busy);
        assert!(all.take(3).is_some());
    }

    #[test]
    fn patience_ends_for_heads_and_strangers_first() {
        let activity = Arc::new(Activity::new());
        assert!(activity.patience(0, 1000).is_none());
        activity.is_known_now();
        assert!(activity.patience(0, 1000).is_some());
        activity.received();
        assert!(activity.patience(10_000, 0).is_some());
        let busy = activity.begin();
        assert!(activity.patience(7, 0) == Some(7));
        drop(busy);
        assert!(activity.patience(10_000, 0).is_none());
    }
}
