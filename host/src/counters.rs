//! What the serving threads count, one atomic each. It is read only when somebody scrapes `/metrics`.

use holdfast_gate::ErrorName;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of times, in microseconds.
const BOUNDS: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 25_000, 100_000, 150_000, 250_000];

/// Of requests, since the start.
#[derive(Default)]
pub struct Counters {
    ok: AtomicU64,
    errors: [AtomicU64; ErrorName::ALL.len()],
    times: [AtomicU64; BOUNDS.len() + 1],
    time_sum: AtomicU64,
    unrecorded: AtomicU64,
}

impl Counters {
    /// Counts an answer.
    pub fn answered(&self, status: u16, error: Option<ErrorName>, took: Duration) {
        let counter = match error {
            Some(error) => self.errors.get(error as usize),
            None if status == 200 => Some(&self.ok),
            None => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.times[bucket].fetch_add(1, Ordering::Relaxed);
        self.time_sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request that was refused because its record could not be written.
    pub fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were refused because their record could not be written.
    pub fn unrecorded_requests(&self) -> u64 {
        self.unrecorded.load(Ordering::Relaxed)
    }

    /// Answers of 200.
    pub fn successes(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    /// Answers of each errorName.
    pub fn refusals(&self) -> impl Iterator<Item = (ErrorName, u64)> {
        let count = |name: ErrorName| self.errors.get(name as usize).map_or(0, |n| n.load(Ordering::Relaxed));
        ErrorName::ALL.into_iter().map(move |name| (name, count(name)))
    }

    /// How many answers took at most so many seconds, and longer than the bound before; infinity is the last bound.
    pub fn times(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.times.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// What all answers took together, in seconds.
    pub fn time_sum(&self) -> f64 {
        self.time_sum.load(Ordering::Relaxed) as f64 / 1e6
    }
}
