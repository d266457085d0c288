//! How much each principal decrypted lately, in bounded memory: the fact by which a mass decrypt can be denied.
//!
//! It belongs to a key store and not to its policy, so that it goes on counting when the policy changes. Requests that
//! were denied count too: who is over a limit stays over it until they stop asking.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::query::{DecryptCounts, Identity, Operation, Query};

/// Principals, and pairs of a principal and a key, in one generation. There are two generations: who was not seen
/// while this many others were is forgotten.
const GENERATION: usize = 4096;
/// Parts of a window. The oldest is dropped whole, so a count reaches back by eleven to twelve parts.
const PARTS: usize = 12;
/// Seconds of a part of the last minute.
const OF_MINUTE: u64 = 5;
/// Seconds of a part of the last hour.
const OF_HOUR: u64 = 300;

/// Counts of one key store.
#[derive(Default)]
pub struct Counter {
    /// Names are kept as hashes under a random key. Two names that collide would be counted together.
    hasher: RandomState,
    /// What makes the key random where `RandomState` isn't, as in a component.
    salt: [u64; 2],
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<u64, Windows>,
    old: HashMap<u64, Windows>,
}

#[derive(Clone, Copy, Default)]
struct Windows {
    minute: Window<OF_MINUTE>,
    hour: Window<OF_HOUR>,
}

/// A ring of counts, each of `SECONDS`.
#[derive(Clone, Copy, Default)]
struct Window<const SECONDS: u64> {
    counts: [u32; PARTS],
    /// The newest part, counted from 1970.
    newest: u64,
}

impl<const SECONDS: u64> Window<SECONDS> {
    fn count(&mut self, time: u64, add: u32) -> u32 {
        // A clock that was set back goes on where it was.
        let part = (time / SECONDS).max(self.newest);
        let passed = part - self.newest;
        for step in 1..=passed.min(PARTS as u64) {
            if let Some(count) = self.counts.get_mut(((self.newest + step) % PARTS as u64) as usize) {
                *count = 0;
            }
        }
        if passed >= PARTS as u64 {
            self.counts = [0; PARTS];
        }
        self.newest = part;
        if let Some(count) = self.counts.get_mut((part % PARTS as u64) as usize) {
            *count = count.saturating_add(add);
        }
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Counter {
    /// Of a home in which the standard library has no randomness: `salt` must have it.
    pub fn salted(salt: [u64; 2]) -> Counter {
        Counter { salt, ..Counter::default() }
    }

    /// Counts a query if it is to decrypt, and tells what its principal did up to now.
    pub fn count(&self, query: &Query) -> DecryptCounts {
        let add = u32::from(query.operation == Operation::Decrypt);
        let of_principal = self.hash_principal(query);
        let of_key = self.hasher.hash_one((self.salt, of_principal, query.key_id.as_str()));
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, hour) = generations.count(of_principal, query.time, add);
        let (key_minute, key_hour) = generations.count(of_key, query.time, add);
        DecryptCounts { minute, hour, key_minute, key_hour }
    }

    /// A role is one principal, whatever its sessions are called.
    fn hash_principal(&self, query: &Query) -> u64 {
        match &query.principal {
            Identity::Arn(arn) => match &arn.role {
                Some(role) => self.hasher.hash_one((self.salt, 0, &arn.partition, &arn.account, role)),
                None => self.hasher.hash_one((self.salt, 1, &query.principal_text)),
            },
            Identity::Service(text) | Identity::Other(text) => self.hasher.hash_one((self.salt, 2, text)),
        }
    }
}

impl Generations {
    fn count(&mut self, who: u64, time: u64, add: u32) -> (u32, u32) {
        if let Some(windows) = self.young.get_mut(&who) {
            return windows.count(time, add);
        }
        let known = self.old.remove(&who);
        if known.is_none() && add == 0 {
            // Who never decrypts takes no room.
            return (0, 0);
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.entry(who).insert_entry(known.unwrap_or_default()).get_mut().count(time, add)
    }
}

impl Windows {
    fn count(&mut self, time: u64, add: u32) -> (u32, u32) {
        (self.minute.count(time, add), self.hour.count(time, add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::identity;

    const START: u64 = 1_800_000_000;

    fn decrypt(principal: &str, key: &str, time: u64) -> Query {
        Query {
            key_store: "test".to_owned(),
            access_key_id: "AAAAAAAAAAAAAAAAAAAA".to_owned(),
            key_id: key.to_owned(),
            operation: Operation::Decrypt,
            principal: identity(principal),
            principal_text: principal.to_owned(),
            kms_key: None,
            kms_operation: "Decrypt".to_owned(),
            kms_request_id: "1".to_owned(),
            via_service: None,
            source_vpc: None,
            source_vpce: None,
            other_metadata: Vec::new(),
            tls_peer: None,
            time,
            decrypts: DecryptCounts::default(),
        }
    }

    fn role(session: &str) -> String {
        format!("arn:aws:sts::111122223333:assumed-role/App/{session}")
    }

    #[test]
    fn a_role_is_counted_whole_and_by_key_and_denied_requests_count_too() {
        let counter = Counter::default();
        for session in ["a", "b", "c"] {
            counter.count(&decrypt(&role(session), "one", START));
        }
        let counts = counter.count(&decrypt(&role("d"), "two", START));
        assert_eq!(counts, DecryptCounts { minute: 4, hour: 4, key_minute: 1, key_hour: 1 });
        let other = counter.count(&decrypt("arn:aws:iam::111122223333:user/App", "one", START));
        assert_eq!(other.minute, 1);
    }

    #[test]
    fn counts_end_with_their_window() {
        let counter = Counter::default();
        for second in 0..10 {
            counter.count(&decrypt(&role("a"), "one", START + second));
        }
        let at = |second| {
            let encrypt =
                Query { operation: Operation::Encrypt, ..decrypt(&role("a"), "one", START + second) };
            let counts = counter.count(&encrypt);
            (counts.minute, counts.hour)
        };
        assert_eq!(at(54), (10, 10));
        assert_eq!(at(62), (5, 10));
        assert_eq!(at(70), (0, 10));
        assert_eq!(at(3299), (0, 10));
        assert_eq!(at(3600), (0, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_nothing() {
        let counter = Counter::default();
        counter.count(&decrypt(&role("a"), "one", START));
        assert_eq!(counter.count(&decrypt(&role("a"), "one", START - 7200)).hour, 2);
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let counter = Counter::default();
        for number in 0..4 * GENERATION {
            let counts = counter.count(&decrypt(&role("a"), "one", START));
            assert_eq!(counts.hour as usize, number + 1);
            counter.count(&decrypt(&format!("user {number}"), "one", START));
        }
        let generations = counter.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
        assert!(matches!(identity(&role("a")), Identity::Arn(_)));
    }
}
