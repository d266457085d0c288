//! Counts and latencies of one thread, and their sum.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::{Kind, Latency};

pub(super) const TIMEOUT: &str = "no answer within 5 s";

/// Nanoseconds: 1 us to 60 s, three digits.
const LOWEST: u64 = 1_000;
const HIGHEST: u64 = 60_000_000_000;

/// What KMS waits (spec: KMS considerations).
const KMS_PATIENCE: Duration = Duration::from_millis(250);

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// 200, and right.
    Right,
    /// 200, and wrong.
    Wrong,
    /// Another status, with its errorName.
    Refused(u16, String),
    /// No answer, and why.
    Unanswered(String),
}

pub(super) struct Tally {
    latency: BTreeMap<Kind, Histogram<u64>>,
    pub(super) outcomes: BTreeMap<(Kind, Outcome), u64>,
    /// The first few of what was wrong.
    pub(super) wrong: Vec<String>,
    pub(super) unsent: u64,
    pub(super) connections_opened: u64,
    pub(super) cpu: Duration,
}

const EXAMPLES: usize = 5;

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latency: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            wrong: Vec::new(),
            unsent: 0,
            connections_opened: 0,
            cpu: Duration::ZERO,
        }
    }

    pub(super) fn record(&mut self, kind: Kind, latency: Duration, outcome: Outcome) {
        // What wasn't answered for another reason than time would make the server look quick.
        if !matches!(outcome, Outcome::Unanswered(ref why) if why != TIMEOUT) {
            let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST);
            if let Some(histogram) = self.histogram(kind) {
                histogram.saturating_record(nanoseconds);
            }
        }
        *self.outcomes.entry((kind, outcome)).or_insert(0) += 1;
    }

    pub(super) fn note_wrong(&mut self, text: String) {
        if self.wrong.len() < EXAMPLES {
            self.wrong.push(text);
        }
    }

    fn histogram(&mut self, kind: Kind) -> Option<&mut Histogram<u64>> {
        if let Entry::Vacant(entry) = self.latency.entry(kind) {
            // The bounds are right, so this makes one.
            entry.insert(Histogram::new_with_bounds(LOWEST, HIGHEST, 3).ok()?);
        }
        self.latency.get_mut(&kind)
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, histogram) in other.latency {
            match self.latency.entry(kind) {
                Entry::Vacant(entry) => {
                    entry.insert(histogram);
                }
                Entry::Occupied(mut entry) => {
                    // Equal bounds always add.
                    let _ = entry.get_mut().add(&histogram);
                }
            }
        }
        for (key, count) in other.outcomes {
            *self.outcomes.entry(key).or_insert(0) += count;
        }
        other.wrong.into_iter().for_each(|text| self.note_wrong(text));
        self.unsent += other.unsent;
        self.connections_opened += other.connections_opened;
        self.cpu += other.cpu;
    }

    pub(super) fn requests(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Latencies by kind.
    pub(super) fn latencies(&self) -> impl Iterator<Item = Latency> + '_ {
        self.latency.iter().map(|(kind, histogram)| {
            let microseconds = |nanoseconds: f64| (nanoseconds / 100.0).round() / 10.0;
            let at = |quantile| microseconds(histogram.value_at_quantile(quantile) as f64);
            let patience = u64::try_from(KMS_PATIENCE.as_nanos()).unwrap_or(HIGHEST);
            Latency {
                kind: *kind,
                count: histogram.len(),
                min_us: microseconds(histogram.min() as f64),
                mean_us: microseconds(histogram.mean()),
                p50_us: at(0.5),
                p90_us: at(0.9),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: microseconds(histogram.max() as f64),
                over_250_ms: histogram.count_between(patience + 1, HIGHEST),
            }
        })
    }
}
