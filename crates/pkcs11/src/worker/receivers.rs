//! Which threads of a worker process wait for messages.
//!
//! While calls are quick there are as few of them as there are calls at a time: one that is done finds its next message
//! waiting and goes on without sleep, where each of many would be woken for its message after all others had theirs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// If all that receive are inside the module for so long and none comes back, they may be stuck.
const STALLED: Duration = Duration::from_millis(2);
/// After so many looks at which somebody received, the sentinel sleeps until nobody does.
const QUIET_LOOKS: u32 = 250;

/// The threads that receive.
pub(super) struct Receivers {
    /// So many always receive: those of the lowest numbers.
    few: usize,
    /// Whether all others do too.
    all: AtomicBool,
    /// Threads that wait for a message.
    waiting: AtomicUsize,
    /// Calls that ended.
    ended: AtomicU64,
    others: Mutex<Vec<Thread>>,
    sentinel: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Receivers {
    /// For `few` that always receive.
    pub(super) fn new(few: usize) -> Receivers {
        Receivers {
            few,
            all: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            others: Mutex::default(),
            sentinel: OnceLock::new(),
            asleep: AtomicBool::new(false),
        }
    }

    /// Starts the thread that lets all receive when those that do are stuck. It ends with the process.
    pub(super) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let receivers = Arc::clone(self);
        let sentinel = thread::Builder::new().name("sentinel".into()).spawn(move || receivers.look())?;
        // It was empty: this is called once.
        let _ = self.sentinel.set(sentinel.thread().clone());
        Ok(())
    }

    /// The thread of this number comes. It isn't asked to receive before `turn` returns.
    pub(super) fn join(&self, number: usize) {
        if number >= self.few {
            self.others.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current());
        }
    }

    /// Waits until this thread is one of those that receive.
    pub(super) fn turn(&self, number: usize) {
        while number >= self.few && !self.all.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Receives a message.
    pub(super) fn receive<T>(&self, receive: impl FnOnce() -> T) -> T {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let received = receive();
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1
            && self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(sentinel) = self.sentinel.get()
        {
            sentinel.unpark();
        }
        received
    }

    /// What the host says with each message: whether few calls are under way.
    pub(super) fn few_are_enough(&self, few: bool) {
        if self.all.load(Ordering::Relaxed) == few {
            self.let_all_receive(!few);
        }
    }

    /// A call has ended.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn let_all_receive(&self, all: bool) {
        self.all.store(all, Ordering::Release);
        if all {
            for thread in self.others.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                thread.unpark();
            }
        }
    }

    fn look(&self) -> ! {
        let (mut seen, mut quiet) = (0, 0);
        loop {
            thread::sleep(STALLED);
            let ended = self.ended.load(Ordering::Relaxed);
            let nobody = self.waiting.load(Ordering::SeqCst) == 0;
            if nobody && ended == seen && !self.all.load(Ordering::Acquire) {
                self.let_all_receive(true);
            }
            quiet = if nobody { 0 } else { quiet + 1 };
            seen = ended;
            if quiet > QUIET_LOOKS {
                self.asleep.store(true, Ordering::SeqCst);
                // Who was the last to leave before this was said is seen here.
                while self.waiting.load(Ordering::SeqCst) != 0 && self.asleep.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                quiet = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Threads that take messages, and what they got; a message is how long to stay inside.
    fn threads(count: usize, few: usize) -> (Arc<Receivers>, Sender<Duration>, Receiver<usize>) {
        let receivers = Arc::new(Receivers::new(few));
        receivers.watch().unwrap();
        let (sender, messages) = channel::<Duration>();
        let messages = Arc::new(Mutex::new(messages));
        let (tell, told) = channel();
        for number in 0..count {
            let (receivers, messages, tell) = (Arc::clone(&receivers), Arc::clone(&messages), tell.clone());
            thread::spawn(move || {
                receivers.join(number);
                loop {
                    receivers.turn(number);
                    let Ok(inside) = receivers.receive(|| messages.lock().unwrap().recv()) else { return };
                    tell.send(number).unwrap();
                    thread::sleep(inside);
                    receivers.end();
                }
            });
        }
        (receivers, sender, told)
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn only_few_receive_until_they_are_stuck() {
        let (receivers, sender, told) = threads(6, 2);
        for _ in 0..40 {
            sender.send(Duration::ZERO).unwrap();
        }
        for _ in 0..40 {
            assert!(told.recv_timeout(PATIENCE).unwrap() < 2);
        }
        // Two that stay, and one that has to wait for the sentinel.
        for _ in 0..3 {
            sender.send(Duration::from_secs(3600)).unwrap();
        }
        let numbers: Vec<_> = (0..3).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        assert!(numbers[2] >= 2, "{numbers:?}");
        assert!(receivers.all.load(Ordering::Relaxed));
    }

    #[test]
    fn a_sentinel_that_sleeps_is_woken() {
        let (receivers, sender, told) = threads(3, 1);
        let end = std::time::Instant::now() + PATIENCE;
        while !receivers.asleep.load(Ordering::SeqCst) {
            assert!(std::time::Instant::now() < end);
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..2 {
            sender.send(Duration::from_secs(3600)).unwrap();
        }
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 0);
        assert!(told.recv_timeout(PATIENCE).unwrap() > 0);
    }

    #[test]
    fn the_host_may_want_all_and_few_again() {
        let (receivers, sender, told) = threads(4, 1);
        receivers.few_are_enough(false);
        for _ in 0..4 {
            sender.send(Duration::from_millis(200)).unwrap();
        }
        let mut numbers: Vec<_> = (0..4).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.len() > 1, "{numbers:?}");
        receivers.few_are_enough(true);
        assert!(!receivers.all.load(Ordering::Relaxed));
    }
}
