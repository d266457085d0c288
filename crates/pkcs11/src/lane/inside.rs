//! Calls that have a place: taken by a worker's thread, or assigned to a place of a worker process.

use super::Lane;
use crate::call::Call;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A call that has a place.
pub(crate) struct Assigned {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    /// Whether few are inside, as calls are quick.
    pub(crate) few: bool,
    pub(crate) call: Arc<Call>,
}

/// What a worker does next.
pub(crate) enum Next {
    Run(Arc<Call>),
    /// Nothing now; it is unparked.
    Park,
    /// Its call was written off while it hung. It leaves the module, and then says so ([`Lane::left`]).
    Leave,
}

impl Lane {
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
}
