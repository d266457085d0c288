//! What waits for an HSM and what is inside it: a bounded queue, and a place for each session.

use crate::call::Call;
use crate::fault::Fault;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Instant;

pub(crate) mod hung;
pub(crate) mod inside;
pub(crate) mod pace;

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

    /// A place's generation.
    pub(crate) fn generation(&self, place: usize) -> u64 {
        self.state().places.get(place).map_or(0, |place| place.generation)
    }

    /// All workers' threads, to end them.
    pub(crate) fn threads(&self) -> Vec<Thread> {
        self.state().places.iter().filter_map(|place| place.thread.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
