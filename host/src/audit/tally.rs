//! What anybody can cause as often as they like, counted and not recorded one by one: failures before authentication, and
//! requests beyond a key store's rate.

use super::record::{Line, rfc3339};
use holdfast_gate::sigv4::AuthenticationFault;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The most bytes of a header that a line repeats.
const SAID: usize = 128;
/// The most bytes of a request's id that a summary repeats.
const ID: usize = 256;

/// Counts since the last summary, and since the start.
#[derive(Default)]
pub struct Tally {
    since: Mutex<Since>,
    total: AtomicU64,
    by_fault: [AtomicU64; AuthenticationFault::ALL.len()],
    throttled: AtomicU64,
}

#[derive(Default)]
struct Since {
    failures: BTreeMap<(String, &'static str), Counted>,
    throttled: BTreeMap<(String, String), Throttled>,
}

struct Counted {
    count: u64,
    first: SystemTime,
    last: SystemTime,
    /// Of the last one.
    said: String,
}

/// Failures of one kind that a line is to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Whose requests.
    pub key_store: String,
    /// Why.
    pub fault: &'static str,
    /// How many since they were told last.
    pub count: u64,
    /// What the last one said of itself, bounded and in printable characters.
    pub said: String,
}

struct Throttled {
    counted: Counted,
    first_id: String,
    last_id: String,
}

impl Counted {
    fn one(now: SystemTime) -> Counted {
        Counted { count: 1, first: now, last: now, said: String::new() }
    }

    fn more(&mut self, now: SystemTime) {
        self.count += 1;
        self.last = now;
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one failure of a request that came with this `Host` and `x-amz-date`.
    pub fn count(
        &self,
        key_store: &str,
        fault: AuthenticationFault,
        now: SystemTime,
        host: &[u8],
        date: &[u8],
    ) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.by_fault[fault as usize].fetch_add(1, Ordering::Relaxed);
        let key = (key_store.to_owned(), fault.label());
        let mut since = self.lock();
        let counted =
            since.failures.entry(key).and_modify(|it| it.more(now)).or_insert_with(|| Counted::one(now));
        counted.said.clear();
        for (name, value) in [("host", host), ("x-amz-date", date)] {
            let value = value.get(..value.len().min(SAID)).unwrap_or_default();
            // Writing to a String can't fail.
            let _ = write!(
                counted.said,
                "{}{name} {}",
                if counted.said.is_empty() { "" } else { ", " },
                value.escape_ascii()
            );
        }
    }

    /// Failures of one kind since the start.
    pub fn total_of(&self, fault: AuthenticationFault) -> u64 {
        self.by_fault[fault as usize].load(Ordering::Relaxed)
    }

    /// What the next summary will say of failures, for the log.
    pub fn failures(&self) -> Vec<Failures> {
        let since = self.lock();
        let told = since.failures.iter().map(|((key_store, fault), counted)| Failures {
            key_store: key_store.clone(),
            fault,
            count: counted.count,
            said: counted.said.clone(),
        });
        told.collect()
    }

    /// Counts one request beyond the rate, of this credential and with this `kmsRequestId`.
    pub fn throttled(&self, key_store: &str, access_key_id: &str, request_id: &str, now: SystemTime) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        let key = (key_store.to_owned(), access_key_id.to_owned());
        let id = || request_id.chars().take(ID / 4).collect::<String>();
        let one = || Throttled { counted: Counted::one(now), first_id: id(), last_id: id() };
        let mut since = self.lock();
        since
            .throttled
            .entry(key)
            .and_modify(|it| {
                it.counted.more(now);
                it.last_id = id();
            })
            .or_insert_with(one);
    }

    /// All failures of authentication since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// All requests beyond a rate since the start.
    pub fn total_throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// One record for each key store and fault, and for each credential beyond its rate, since the last call; empty when there
    /// were none.
    pub fn summary(&self) -> String {
        let Since { failures, throttled } = std::mem::take(&mut *self.lock());
        let begin = |kind: &str, key_store: &str, counted: &Counted| {
            let mut line = Line::start();
            line.text("type", kind);
            line.text("time", &rfc3339(counted.last));
            line.text("first", &rfc3339(counted.first));
            line.text("keyStore", key_store);
            line.raw("count", &counted.count.to_string());
            line
        };
        let failures = failures.into_iter().map(|((key_store, fault), counted)| {
            let mut line = begin("authentication-failures", &key_store, &counted);
            line.text("fault", fault);
            line.finish()
        });
        let throttled = throttled.into_iter().map(|((key_store, access_key_id), it)| {
            let mut line = begin("throttled-requests", &key_store, &it.counted);
            line.text("accessKeyId", &access_key_id);
            line.text("firstRequestId", &it.first_id);
            line.text("lastRequestId", &it.last_id);
            line.finish()
        });
        failures.chain(throttled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_unauthenticated_failures_are_one_record_with_a_count() {
        let tally = Tally::default();
        for _ in 0..1000 {
            tally.count(
                "demo",
                AuthenticationFault::Signature,
                SystemTime::now(),
                b"a\nb",
                b"20260101T000000Z",
            );
        }
        tally.count("demo", AuthenticationFault::Skew, SystemTime::now(), &[b'x'; 10_000], b"");
        let told = tally.failures();
        assert_eq!((told[0].fault, told[0].count), ("signature", 1000));
        assert_eq!(told[0].said, "host a\\nb, x-amz-date 20260101T000000Z");
        assert!(told[1].said.len() < 200, "what strangers send is bounded");
        assert_eq!(tally.total_of(AuthenticationFault::Signature), 1000);
        let summary = tally.summary();
        assert_eq!(summary.lines().count(), 2);
        assert!(summary.contains("\"count\":1000,\"fault\":\"signature\""));
        assert_eq!((tally.summary().as_str(), tally.total()), ("", 1001));
    }

    #[test]
    fn requests_beyond_the_rate_are_one_record_with_the_first_and_the_last() {
        let tally = Tally::default();
        for n in 0..1000 {
            tally.throttled("demo", "ID", &format!("request-{n}"), SystemTime::now());
        }
        tally.throttled("demo", "OTHER", &"x".repeat(100_000), SystemTime::now());
        let summary = tally.summary();
        assert_eq!(summary.lines().count(), 2);
        let one: serde_json::Value = serde_json::from_str(summary.lines().next().unwrap()).unwrap();
        assert_eq!((&one["type"], &one["count"]), (&"throttled-requests".into(), &1000.into()));
        assert_eq!(
            (&one["firstRequestId"], &one["lastRequestId"]),
            (&"request-0".into(), &"request-999".into())
        );
        assert!(summary.len() < 1024, "an id is bounded");
        assert_eq!((tally.summary().as_str(), tally.total_throttled(), tally.total()), ("", 1001, 0));
    }
}
