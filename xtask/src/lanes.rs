//! Two things at once, on lines that say which of them speaks, how long it has been, and how far that one is.

use std::cell::RefCell;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::colour::dim;
use crate::error::Result;

/// After a silence of this length a lane says what it is at work on.
const SILENCE: Duration = Duration::from_secs(20);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Lane>>> = const { RefCell::new(None) };
}

/// One of the two.
pub struct Lane {
    name: &'static str,
    both: Arc<Both>,
    at: Mutex<At>,
}

/// How far a lane is.
struct At {
    /// Of what it does one after the other, for instance `2 of 3: proxy`.
    part: String,
    /// As cargo counts: what is compiled, of how much.
    count: Option<(u32, u32)>,
    /// What cargo is compiling.
    work: String,
    said: Instant,
}

struct Both {
    started: Instant,
    failed: AtomicBool,
    /// Programs under way, which end when the other lane has failed.
    children: Mutex<Vec<u32>>,
}

/// Does both at once. When one fails, the programs of the other are ended, and its failure is the result.
pub fn both(
    first: (&'static str, impl FnOnce() -> Result<()> + Send),
    second: (&'static str, impl FnOnce() -> Result<()> + Send),
) -> Result<()> {
    let both = Arc::new(Both {
        started: Instant::now(),
        failed: AtomicBool::new(false),
        children: Mutex::default(),
    });
    let lane = |name| {
        let at = At { part: String::new(), count: None, work: String::new(), said: Instant::now() };
        Arc::new(Lane { name, both: both.clone(), at: Mutex::new(at) })
    };
    let lanes = [lane(first.0), lane(second.0)];
    let reason = Mutex::new(None);
    let ended = (Mutex::new(0), Condvar::new());
    let run = |lane: &Arc<Lane>, work: &mut dyn FnMut() -> Result<()>| {
        CURRENT.set(Some(lane.clone()));
        if let Err(error) = work() {
            lock(&reason).get_or_insert(error);
            lane.both.fail();
        }
        lock(&lane.at).work.clear();
        *lock(&ended.0) += 1;
        ended.1.notify_all();
    };
    let (mut one, mut other) = (once(first.1), once(second.1));
    std::thread::scope(|scope| {
        scope.spawn(|| run(&lanes[0], &mut one));
        scope.spawn(|| run(&lanes[1], &mut other));
        let mut count = lock(&ended.0);
        while *count < lanes.len() {
            let waited = ended.1.wait_timeout(count, Duration::from_secs(1));
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
            lanes.iter().for_each(|lane| lane.breaks_silence());
        }
    });
    lock(&reason).take().map_or(Ok(()), Err)
}

/// What is called once, as one that could be called again.
fn once(work: impl FnOnce() -> Result<()>) -> impl FnMut() -> Result<()> {
    let mut work = Some(work);
    move || work.take().map_or(Ok(()), |work| work())
}

/// The lane of this thread, if there is more than one.
pub fn current() -> Option<Arc<Lane>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Names what this thread's lane does from now on.
pub fn part(name: impl Display) {
    if let Some(lane) = current() {
        let mut at = lock(&lane.at);
        (at.part, at.count, at.work) = (name.to_string(), None, String::new());
    }
}

impl Lane {
    /// Prints a line.
    pub fn say(&self, text: impl Display) {
        let mut at = lock(&self.at);
        at.said = Instant::now();
        self.line(&at, text);
    }

    /// Takes in how far cargo is.
    pub fn is_at(&self, count: (u32, u32), work: &str) {
        let mut at = lock(&self.at);
        at.count = Some(count);
        work.clone_into(&mut at.work);
    }

    /// Remembers a program as one to end if the other lane fails.
    pub fn begins(&self, child: u32) {
        let mut children = lock(&self.both.children);
        children.push(child);
        if self.both.failed.load(Ordering::SeqCst) {
            terminate(child);
        }
    }

    /// The program is about to be waited for: its id may be another's afterwards.
    pub fn ends(&self, child: u32) {
        lock(&self.both.children).retain(|other| *other != child);
    }

    fn breaks_silence(&self) {
        let mut at = lock(&self.at);
        let silent = Instant::now().checked_duration_since(at.said).is_some_and(|time| time > SILENCE);
        if silent && !at.work.is_empty() {
            at.said = Instant::now();
            self.line(&at, format!("at work on {}", at.work));
        }
    }

    fn line(&self, at: &At, text: impl Display) {
        let passed = self.both.started.elapsed().as_secs();
        let count = at.count.map(|(done, all)| format!("{done}/{all}")).unwrap_or_default();
        let place = [at.part.as_str(), &count].into_iter().filter(|part| !part.is_empty());
        let place = place.collect::<Vec<_>>().join(", ");
        let time = format!("{:>3}:{:02}", passed / 60, passed % 60);
        println!("{} {text}", dim(format!("{time} {:<10} {place:<24}", self.name)));
    }
}

impl Both {
    fn fail(&self) {
        let children = lock(&self.children);
        self.failed.store(true, Ordering::SeqCst);
        children.iter().for_each(|child| terminate(*child));
    }
}

fn terminate(child: u32) {
    let Ok(child) = libc::pid_t::try_from(child) else { return };
    // SAFETY: kill takes no pointers; the process is a child that nobody has waited for, so the id is still its own.
    unsafe { libc::kill(child, libc::SIGTERM) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
