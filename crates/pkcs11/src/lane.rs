//! What waits for an HSM and what is inside it: a bounded queue, and a place for each session.

use crate::call::Call;
use crate::fault::Fault;
use crate::request::Operation;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Calls that take less than this gain nothing from more threads than there are cores, and lose by them: they wait for each
/// other's locks.
const QUICK_MICROS: u32 = 100;
/// What a call counts for at most: a single one that was held up says nothing.
const MOST_MICROS: u32 = 2 * QUICK_MICROS;
/// Then a call that waits longer than this gets a further thread all the same: the others may be stuck.
const STALLED: Duration = Duration::from_millis(2);

/// How many quick calls are inside a worker process at a time: one more than there are cores, so that a session that is done
/// finds its next call waiting.
pub(crate) fn quick_in_a_process() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 1
}

/// For how long a listing may be inside: a token may have many keys, and be asked for each.
pub(crate) const LIST_TIME: Duration = Duration::from_secs(10);

/// For how long a call may be inside before it counts as hung.
fn patience(call: &Call, hang_time: Duration) -> Duration {
    match call.work.operation {
        Operation::List => hang_time.max(LIST_TIME),
        _ => hang_time,
    }
}

/// A call that has a place.
pub(crate) struct Assigned {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    /// Whether few are inside, as calls are quick.
    pub(crate) few: bool,
    pub(crate) call: Arc<Call>,
}

pub(crate) struct Lane {
    state: Mutex<State>,
    capacity: usize,
    /// How many quick calls are inside at a time.
    quick: usize,
    /// Waiting and inside, for the choice among HSMs.
    load: AtomicUsize,
    /// What a call takes in microseconds where few are inside, a moving average.
    service: AtomicU32,
}

#[derive(Default)]
struct State {
    open: bool,
    waiting: VecDeque<(Arc<Call>, Instant)>,
    places: Vec<Place>,
    /// Places with nothing to do, the latest last: its thread's caches are warm.
    idle: Vec<usize>,
    /// The latest that a place got.
    generation: u64,
    /// Calls that were written off and are still inside.
    hung: usize,
    /// Places whose thread rests: it could get no session.
    resting: usize,
}

impl State {
    /// Places at work, or about to be.
    fn awake(&self) -> usize {
        self.places.len() - self.idle.len() - self.resting
    }
}

#[derive(Default)]
struct Place {
    /// Another when a hung call is written off; its thread then no longer has the place.
    generation: u64,
    inside: Option<(Arc<Call>, Instant)>,
    /// Whether few others were inside when this began: more tell of their locks and not of the HSM.
    few: bool,
    resting: bool,
    thread: Option<Thread>,
}

/// What a worker does next.
pub(crate) enum Next {
    Run(Arc<Call>),
    /// Nothing now; it is unparked.
    Park,
    /// Its call was written off while it hung. It leaves the module, and then says so ([`Lane::left`]).
    Leave,
}

/// What the watch found.
#[derive(Default)]
pub(crate) struct Found {
    /// Places whose call is inside for longer than the hang time.
    pub(crate) hung: Vec<usize>,
    /// Threads to unpark.
    pub(crate) wake: Vec<Thread>,
    /// Whether nothing waits and nothing is inside.
    pub(crate) is_empty: bool,
}

impl Lane {
    /// For at most `capacity` that wait, and `quick` that are inside while calls are quick.
    pub(crate) fn new(capacity: usize, quick: usize) -> Lane {
        Lane {
            state: Mutex::default(),
            capacity,
            quick,
            load: AtomicUsize::new(0),
            service: AtomicU32::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &State) {
        self.load.store(state.waiting.len() + state.awake(), Ordering::Relaxed);
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Sets the number of places, all idle, and lets calls in.
    pub(crate) fn open(&self, places: usize) {
        let mut state = self.state();
        if state.places.len() != places {
            // Generations are never used again: an answer may be late.
            state.generation += 1;
            let generation = state.generation;
            state.places = (0..places).map(|_| Place { generation, ..Place::default() }).collect();
            state.idle = (0..places).rev().collect();
            state.resting = 0;
        }
        state.open = true;
        self.publish(&state);
    }

    /// Lets no more calls in, and fails those that wait.
    pub(crate) fn close(&self, fault: &Fault) {
        let waiting = {
            let mut state = self.state();
            state.open = false;
            let waiting = std::mem::take(&mut state.waiting);
            self.publish(&state);
            waiting
        };
        for (call, _) in waiting {
            call.finish(Err(fault.clone()));
        }
    }

    /// As [`Lane::close`], and fails what is inside: the process that had it is gone.
    pub(crate) fn abandon(&self, fault: &Fault) {
        self.close(fault);
        let inside: Vec<_> = {
            let mut state = self.state();
            let inside = state.places.iter_mut().filter_map(|place| place.inside.take()).collect();
            state.idle = (0..state.places.len()).rev().collect();
            state.generation += 1;
            let generation = state.generation;
            for place in &mut state.places {
                place.generation = generation;
            }
            self.publish(&state);
            inside
        };
        for (call, _) in inside {
            call.finish(Err(fault.clone()));
        }
    }

    /// How many calls may be inside; all places where calls take long.
    fn eager(&self) -> usize {
        if self.service.load(Ordering::Relaxed) < QUICK_MICROS { self.quick } else { usize::MAX }
    }

    /// Whether a further call may be inside besides those that are, of which `own` are the asker's.
    fn has_room(&self, state: &State, now: Instant, own: usize) -> bool {
        let stalled = |(_, since): &(Arc<Call>, Instant)| now.duration_since(*since) > STALLED;
        let others = state.awake().saturating_sub(own);
        others < self.eager() || state.waiting.front().is_some_and(stalled)
    }

    /// Enqueues a call; a check goes first and is never too many. Gives a thread to unpark.
    pub(crate) fn push(&self, call: Arc<Call>, is_check: bool) -> Result<Option<Thread>, Fault> {
        let mut state = self.state();
        if !state.open {
            return Err(Fault::Lost("the HSM isn't connected".into()));
        }
        let now = Instant::now();
        if is_check {
            state.waiting.push_front((call, now));
        } else if state.waiting.len() < self.capacity + state.idle.len() {
            // What a free session could take doesn't count as waiting.
            state.waiting.push_back((call, now));
        } else {
            return Err(Fault::Busy);
        }
        let wake = self.wake(&mut state, self.eager());
        self.publish(&state);
        Ok(wake)
    }

    /// Takes an idle place's thread, if no more than `limit` are awake. Places without threads stay idle.
    fn wake(&self, state: &mut State, limit: usize) -> Option<Thread> {
        let awake = state.awake();
        let place = *state.idle.last().filter(|_| awake < limit)?;
        let thread = state.places[place].thread.clone()?;
        state.idle.pop();
        Some(thread)
    }

    /// The first waiting call that is still wanted.
    fn take(state: &mut State, now: Instant) -> Option<Arc<Call>> {
        while let Some((call, _)) = state.waiting.pop_front() {
            if call.deadline <= now {
                call.finish(Err(Fault::Queued));
            } else if call.is_wanted() {
                return Some(call);
            }
        }
        None
    }

    /// A worker's thread takes its place.
    pub(crate) fn attach(&self, place: usize, generation: u64) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(place).filter(|place| place.generation == generation) {
            place.thread = Some(std::thread::current());
        }
        state.idle.retain(|idle| *idle != place);
        self.publish(&state);
    }

    /// Ends the worker's call, if it had one, and gives it the next.
    pub(crate) fn next(&self, place: usize, generation: u64) -> Next {
        let now = Instant::now();
        let mut state = self.state();
        let held = match state.places.get_mut(place) {
            Some(held) if held.generation == generation => held,
            _ => return Next::Leave,
        };
        let few = held.few;
        let ended = held.inside.take();
        if std::mem::take(&mut held.resting) {
            state.resting -= 1;
        }
        if let Some((call, since)) = ended {
            self.served(&call, few, now.duration_since(since));
        }
        // One that was woken for a call that waited for long makes way again.
        let is_wanted = self.has_room(&state, now, 1);
        let next = if state.open && is_wanted { Lane::take(&mut state, now) } else { None };
        let next = match next {
            Some(call) => {
                let few = state.awake() <= self.quick;
                let held = &mut state.places[place];
                held.inside = Some((Arc::clone(&call), now));
                held.few = few;
                Next::Run(call)
            }
            None => {
                if !state.idle.contains(&place) {
                    state.idle.push(place);
                }
                Next::Park
            }
        };
        self.publish(&state);
        next
    }

    /// Gives a call back that couldn't be begun.
    pub(crate) fn put_back(&self, place: usize, generation: u64, call: Arc<Call>) {
        let mut state = self.state();
        if let Some(held) = state.places.get_mut(place).filter(|held| held.generation == generation) {
            held.inside = None;
            if !std::mem::replace(&mut held.resting, true) {
                state.resting += 1;
            }
        }
        state.waiting.push_front((call, Instant::now()));
        self.publish(&state);
    }

    /// Assigns a waiting call to an idle place without a thread: it is sent to a worker process then.
    pub(crate) fn assign(&self) -> Option<Assigned> {
        let now = Instant::now();
        let mut state = self.state();
        if !state.open || state.idle.is_empty() {
            return None;
        }
        if !self.has_room(&state, now, 0) {
            return None;
        }
        let (inside, eager) = (state.awake(), self.eager());
        let call = Lane::take(&mut state, now);
        let assigned = call.and_then(|call| {
            let place = state.idle.pop()?;
            let held = &mut state.places[place];
            held.inside = Some((Arc::clone(&call), now));
            held.few = inside < self.quick;
            Some(Assigned {
                place,
                generation: held.generation,
                few: inside < eager && eager < usize::MAX,
                call,
            })
        });
        self.publish(&state);
        assigned
    }

    /// Frees the place of an assigned call, which took so long where it was done, and gives the call.
    pub(crate) fn release(&self, place: usize, generation: u64, took: Duration) -> Option<Arc<Call>> {
        let mut state = self.state();
        let held = state.places.get_mut(place).filter(|held| held.generation == generation)?;
        let (call, _) = held.inside.take()?;
        self.served(&call, held.few, took);
        state.idle.push(place);
        self.publish(&state);
        Some(call)
    }

    /// Puts an assigned call back that couldn't be sent.
    pub(crate) fn unassign(&self, place: usize, generation: u64) {
        let mut state = self.state();
        let held = state.places.get_mut(place).filter(|held| held.generation == generation);
        if let Some((call, since)) = held.and_then(|held| held.inside.take()) {
            state.idle.push(place);
            state.waiting.push_front((call, since));
        }
        self.publish(&state);
    }

    /// Learns from a call that ended. Of those that began among many only a quick one tells of the HSM.
    fn served(&self, call: &Call, few: bool, time: Duration) {
        let time = match call.work.operation {
            Operation::Encrypt | Operation::Decrypt => time,
            Operation::EncryptVerified => time / 2,
            Operation::List => return,
        };
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).min(MOST_MICROS);
        if !few && micros >= QUICK_MICROS {
            return;
        }
        let before = self.service.load(Ordering::Relaxed);
        self.service.store(before - before / 8 + micros / 8, Ordering::Relaxed);
    }

    /// Ends calls whose time is over, and finds what hangs and who should be awake.
    pub(crate) fn watch(&self, hang_time: Duration) -> Found {
        let now = Instant::now();
        let mut over = Vec::new();
        let mut found = Found::default();
        {
            let mut state = self.state();
            state.waiting.retain(|(call, _)| {
                if call.deadline <= now {
                    over.push((Arc::clone(call), Fault::Queued));
                }
                call.deadline > now && call.is_wanted()
            });
            for (index, place) in state.places.iter().enumerate() {
                let Some((call, since)) = &place.inside else { continue };
                if call.deadline <= now {
                    over.push((Arc::clone(call), Fault::Timeout));
                }
                if now.duration_since(*since) > patience(call, hang_time) {
                    found.hung.push(index);
                }
            }
            let stalled =
                state.waiting.iter().filter(|(_, since)| now.duration_since(*since) > STALLED).count();
            for _ in 0..stalled {
                found.wake.extend(self.wake(&mut state, usize::MAX));
            }
            found.is_empty =
                state.waiting.is_empty() && state.places.iter().all(|place| place.inside.is_none());
            self.publish(&state);
        }
        for (call, fault) in over {
            call.finish(Err(fault));
        }
        found
    }

    /// Writes a hung call's thread off. Gives the generation of the thread to replace it.
    pub(crate) fn write_off(&self, place: usize) -> u64 {
        let mut state = self.state();
        state.hung += 1;
        state.generation += 1;
        let generation = state.generation;
        let held = &mut state.places[place];
        held.generation = generation;
        held.thread = None;
        let inside = held.inside.take();
        self.publish(&state);
        drop(state);
        if let Some((call, _)) = inside {
            call.finish(Err(Fault::Timeout));
        }
        generation
    }

    /// A thread whose call was written off has left the module.
    pub(crate) fn left(&self) {
        let mut state = self.state();
        state.hung = state.hung.saturating_sub(1);
    }

    /// Whether a call is inside for longer than `hang_time`.
    pub(crate) fn is_stuck(&self, hang_time: Duration) -> bool {
        let hangs = |(call, since): &(Arc<Call>, Instant)| since.elapsed() > patience(call, hang_time);
        self.state().places.iter().filter_map(|place| place.inside.as_ref()).any(hangs)
    }

    /// A place's generation.
    pub(crate) fn generation(&self, place: usize) -> u64 {
        self.state().places.get(place).map_or(0, |place| place.generation)
    }

    /// How many written-off calls are still inside.
    pub(crate) fn hung(&self) -> usize {
        self.state().hung
    }

    /// Whether no call is inside.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.hung == 0 && state.places.iter().all(|place| place.inside.is_none())
    }

    /// All workers' threads, to end them.
    pub(crate) fn threads(&self) -> Vec<Thread> {
        self.state().places.iter().filter_map(|place| place.thread.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
