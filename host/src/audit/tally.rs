//! Failures before authentication, counted and not recorded one by one: anybody can cause them, as many as they like.

use super::record::{Line, rfc3339};
use holdfast_gate::sigv4::AuthenticationFault;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Counts since the last summary, and since the start.
#[derive(Default)]
pub struct Tally {
    since: Mutex<BTreeMap<(String, &'static str), Counted>>,
    total: AtomicU64,
}

struct Counted {
    count: u64,
    first: SystemTime,
    last: SystemTime,
}

impl Tally {
    /// Counts one failure.
    pub fn count(&self, key_store: &str, fault: AuthenticationFault, now: SystemTime) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = since.entry((key_store.to_owned(), fault.label())).or_insert(Counted {
            count: 0,
            first: now,
            last: now,
        });
        entry.count += 1;
        entry.last = now;
    }

    /// All of them since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// One record for each key store and fault since the last call; empty when there were none.
    pub fn summary(&self) -> String {
        let since = std::mem::take(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner));
        let lines = since.into_iter().map(|((key_store, fault), counted)| {
            let mut line = Line::start();
            line.text("type", "authentication-failures");
            line.text("time", &rfc3339(counted.last));
            line.text("first", &rfc3339(counted.first));
            line.text("keyStore", &key_store);
            line.text("fault", fault);
            line.raw("count", &counted.count.to_string());
            line.finish()
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_unauthenticated_failures_are_one_record_with_a_count() {
        let tally = Tally::default();
        for _ in 0..1000 {
            tally.count("demo", AuthenticationFault::Signature, SystemTime::now());
        }
        tally.count("demo", AuthenticationFault::Skew, SystemTime::now());
        let summary = tally.summary();
        assert_eq!(summary.lines().count(), 2);
        assert!(summary.contains("\"fault\":\"signature\",\"count\":1000"));
        assert_eq!((tally.summary().as_str(), tally.total()), ("", 1001));
    }
}
