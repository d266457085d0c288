//! Decisions by the facts that they depend on, in bounded memory.
//!
//! Two generations: new and lately used decisions are in the young one; when it is full it becomes the old one, and what
//! was in the old one and hasn't been asked for since is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_gate::query::Decision;

use crate::policy::PolicyMetrics;

/// What an entry takes besides its key and texts: map slots, pointers, allocation headers.
const ENTRY_OVERHEAD: usize = 160;

/// A cache of decisions.
pub(crate) struct DecisionCache {
    /// Bytes of one generation.
    limit: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Box<[u8]>, Arc<Decision>>,
    old: HashMap<Box<[u8]>, Arc<Decision>>,
    young_bytes: usize,
    old_bytes: usize,
    hits: u64,
    misses: u64,
    evictions: u64,
}

impl DecisionCache {
    /// A cache of at most `bytes`.
    pub(crate) fn new(bytes: usize) -> DecisionCache {
        DecisionCache { limit: bytes / 2, generations: Mutex::default() }
    }

    /// Looks a decision up, and counts a hit or a miss.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<Decision>> {
        let mut generations = self.lock();
        if let Some(decision) = generations.young.get(key).cloned() {
            generations.hits += 1;
            return Some(decision);
        }
        match generations.old.remove_entry(key) {
            Some((key, decision)) => {
                generations.hits += 1;
                let size = size(&key, &decision);
                generations.old_bytes = generations.old_bytes.saturating_sub(size);
                generations.insert(key, decision.clone(), self.limit);
                Some(decision)
            }
            None => {
                generations.misses += 1;
                None
            }
        }
    }

    /// Counts a decision that can't be cached.
    pub(crate) fn miss(&self) {
        self.lock().misses += 1;
    }

    /// Keeps a decision. One that is larger than a generation isn't kept.
    pub(crate) fn put(&self, key: Vec<u8>, decision: Arc<Decision>) {
        self.lock().insert(key.into_boxed_slice(), decision, self.limit);
    }

    /// Puts the counters and the size into `metrics`.
    pub(crate) fn measure(&self, metrics: &mut PolicyMetrics) {
        let generations = self.lock();
        metrics.hits = generations.hits;
        metrics.misses = generations.misses;
        metrics.evictions = generations.evictions;
        metrics.entries = (generations.young.len() + generations.old.len()) as u64;
        metrics.bytes = (generations.young_bytes + generations.old_bytes) as u64;
    }

    /// Nothing that runs under the lock can panic halfway through a change, so a poisoned one is still in order.
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, key: Box<[u8]>, decision: Arc<Decision>, limit: usize) {
        let size = size(&key, &decision);
        if size > limit {
            return;
        }
        if self.young_bytes + size > limit {
            self.evictions += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        // Two requests may have missed at once; both decided the same.
        if self.young.insert(key, decision).is_none() {
            self.young_bytes += size;
        }
    }
}

fn size(key: &[u8], decision: &Decision) -> usize {
    let texts = decision.rules.iter().chain(&decision.errors).chain(&decision.message);
    ENTRY_OVERHEAD + key.len() + texts.map(|text| text.len() + size_of::<String>()).sum::<usize>()
}

#[cfg(test)]
mod tests;
