//! Calls whose time is over, and those that hang.

use super::Lane;
use super::pace::STALLED;
use crate::call::Call;
use crate::fault::Fault;
use crate::request::Operation;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// For how long a listing may be inside: a token may have many keys, and be asked for each.
pub(crate) const LIST_TIME: Duration = Duration::from_secs(10);

/// For how long a call may be inside before it counts as hung.
fn patience(call: &Call, hang_time: Duration) -> Duration {
    match call.work.operation {
        Operation::List => hang_time.max(LIST_TIME),
        _ => hang_time,
    }
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

    /// How many written-off calls are still inside.
    pub(crate) fn hung(&self) -> usize {
        self.state().hung
    }

    /// Whether no call is inside.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.hung == 0 && state.places.iter().all(|place| place.inside.is_none())
    }
}
