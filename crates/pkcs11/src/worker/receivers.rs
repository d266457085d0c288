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
    /// So many always receive: those that came first.
    few: usize,
    /// Threads that came.
    came: AtomicUsize,
    /// Threads that have a session.
    with_session: AtomicUsize,
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
            came: AtomicUsize::new(0),
            with_session: AtomicUsize::new(0),
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

    /// This thread comes, with its session. It gets its number, and receives once [`Receivers::turn`] returns.
    pub(super) fn join(&self) -> usize {
        let number = self.came.fetch_add(1, Ordering::Relaxed);
        if number >= self.few {
            self.others.lock().unwrap_or_else(PoisonError::into_inner).push(thread::current());
        }
        number
    }

    /// Notes whether a thread has a session, which `had` one, and gives whether it lacks one.
    pub(super) fn note(&self, had: &mut bool, has: bool) -> bool {
        match (std::mem::replace(had, has), has) {
            (false, true) => self.with_session.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.with_session.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        !has
    }

    /// Whether any thread has a session, as far as it knows.
    pub(super) fn have_session(&self) -> bool {
        self.with_session.load(Ordering::Relaxed) > 0
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

    const FEW: usize = 2;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Threads that take messages, and what they got; a message is how long to stay inside.
    struct Threads {
        receivers: Arc<Receivers>,
        sender: Sender<Duration>,
        told: Receiver<usize>,
    }

    impl Threads {
        fn start() -> Threads {
            let receivers = Arc::new(Receivers::new(FEW));
            let (sender, messages) = channel::<Duration>();
            let messages = Arc::new(Mutex::new(messages));
            let (tell, told) = channel();
            for _ in 0..6 {
                let (receivers, messages, tell) =
                    (Arc::clone(&receivers), Arc::clone(&messages), tell.clone());
                thread::spawn(move || {
                    let number = receivers.join();
                    loop {
                        receivers.turn(number);
                        let receive = || messages.lock().unwrap().recv();
                        let Ok(inside) = receivers.receive(receive) else { return };
                        tell.send(number).unwrap();
                        thread::sleep(inside);
                        receivers.end();
                    }
                });
            }
            let threads = Threads { receivers, sender, told };
            threads.until(|receivers| receivers.waiting.load(Ordering::SeqCst) == FEW);
            threads
        }

        fn until(&self, condition: impl Fn(&Receivers) -> bool) {
            let end = std::time::Instant::now() + PATIENCE;
            while !condition(&self.receivers) {
                assert!(std::time::Instant::now() < end);
                thread::sleep(Duration::from_millis(1));
            }
        }

        /// Who takes messages that are sent now.
        fn takers(&self, inside: Duration, count: usize) -> Vec<usize> {
            (0..count).for_each(|_| self.sender.send(inside).unwrap());
            (0..count).map(|_| self.told.recv_timeout(PATIENCE).unwrap()).collect()
        }
    }

    #[test]
    fn only_few_receive() {
        let threads = Threads::start();
        assert!(threads.takers(Duration::ZERO, 40).iter().all(|number| *number < FEW));
    }

    #[test]
    fn all_receive_when_the_few_are_stuck() {
        let threads = Threads::start();
        threads.receivers.watch().unwrap();
        assert!(threads.takers(Duration::from_secs(3600), FEW + 1)[FEW] >= FEW);
    }

    #[test]
    fn a_sentinel_that_sleeps_is_woken() {
        let threads = Threads::start();
        threads.receivers.watch().unwrap();
        threads.until(|receivers| receivers.asleep.load(Ordering::SeqCst));
        assert!(threads.takers(Duration::from_secs(3600), FEW + 1)[FEW] >= FEW);
    }

    #[test]
    fn the_host_may_want_all_and_few_again() {
        let threads = Threads::start();
        threads.receivers.few_are_enough(false);
        // Nobody else lets them: there is no sentinel here.
        assert!(threads.takers(Duration::from_secs(3600), FEW + 1).iter().any(|number| *number >= FEW));
        threads.receivers.few_are_enough(true);
        assert!(!threads.receivers.all.load(Ordering::Relaxed));
    }
}
