//! How many calls are inside at a time: few while they are quick, all that there are sessions for where they take long.

use super::{Lane, State};
use crate::call::Call;
use crate::request::Operation;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Calls that take less than this gain nothing from more threads than there are cores, and lose by them: they wait for each
/// other's locks.
pub(super) const QUICK_MICROS: u32 = 100;
/// What a call counts for at most: a single one that was held up says nothing.
pub(super) const MOST_MICROS: u32 = 2 * QUICK_MICROS;
/// Then a call that waits longer than this gets a further thread all the same: the others may be stuck.
pub(super) const STALLED: Duration = Duration::from_millis(2);

/// How many quick calls are inside a worker process at a time: one more than there are cores, so that a session that is done
/// finds its next call waiting.
pub(crate) fn quick_in_a_process() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + 1
}

impl Lane {
    /// How many calls may be inside; all places where calls take long.
    pub(super) fn eager(&self) -> usize {
        if self.service.load(Ordering::Relaxed) < QUICK_MICROS { self.quick } else { usize::MAX }
    }

    /// Whether a further call may be inside besides those that are, of which `own` are the asker's.
    pub(super) fn has_room(&self, state: &State, now: Instant, own: usize) -> bool {
        let stalled = |(_, since): &(Arc<Call>, Instant)| now.duration_since(*since) > STALLED;
        let others = state.awake().saturating_sub(own);
        others < self.eager() || state.waiting.front().is_some_and(stalled)
    }

    /// Learns from a call that ended. Of those that began among many only a quick one tells of the HSM.
    pub(super) fn served(&self, call: &Call, few: bool, time: Duration) {
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
}
