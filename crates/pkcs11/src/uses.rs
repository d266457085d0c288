//! How often each version of a key has encrypted. AES-GCM with random IVs is good for 2^32 messages (NIST SP 800-38D, 8.3).
//!
//! Uses are reserved in blocks, on disk before the first of a block is made. After a kill the rest of a block counts as used:
//! there may have been fewer uses than counted, never more.

use crate::ledger::replace;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many uses are reserved at once. Half of it has to last while the next block is written.
const BLOCK: u64 = 1 << 17;

/// The uses of one version.
#[derive(Debug, Default)]
pub struct Counter {
    used: AtomicU64,
    reserved: AtomicU64,
    warned: AtomicBool,
}

/// Why a version doesn't encrypt.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// It has encrypted as often as is safe.
    #[error("this version of the key has encrypted {0} times, the most that is safe; rotate the key")]
    Exhausted(u64),
    /// No block is reserved.
    #[error("no uses of the key are reserved: the file that counts them can't be written, or is too slow")]
    Unreserved,
}

/// Why uses can't be counted.
#[derive(Debug, thiserror::Error)]
#[error("{path}, which counts the uses of keys: {source}")]
pub struct UsesError {
    path: PathBuf,
    source: io::Error,
}

/// The uses of all versions of a fleet's keys.
pub struct Uses {
    path: PathBuf,
    warn_after: u64,
    refuse_after: u64,
    counters: Mutex<BTreeMap<String, Arc<Counter>>>,
}

impl Uses {
    /// Reads the file, which needn't exist.
    pub fn open(path: PathBuf, warn_after: u64, refuse_after: u64) -> Result<Uses, UsesError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(UsesError { path, source }),
        };
        let mut counters = BTreeMap::new();
        for line in text.lines() {
            let entry = line.split_once(' ').and_then(|(count, label)| Some((count.parse().ok()?, label)));
            let Some((count, label)) = entry else {
                let source =
                    io::Error::new(io::ErrorKind::InvalidData, format!("this line is damaged: {line}"));
                return Err(UsesError { path, source });
            };
            let counter = Counter {
                used: AtomicU64::new(count),
                reserved: AtomicU64::new(count),
                ..Counter::default()
            };
            counters.insert(label.to_owned(), Arc::new(counter));
        }
        Ok(Uses { path, warn_after, refuse_after, counters: Mutex::new(counters) })
    }

    /// The counter of a version, by its label.
    pub fn counter(&self, label: &str) -> Arc<Counter> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry(label.to_owned()).or_default())
    }

    /// Counts one use. True if the next block should be reserved now.
    pub fn count(&self, label: &str, counter: &Counter) -> Result<bool, UseError> {
        let reserved = counter.reserved.load(Ordering::Acquire);
        let used = counter.used.fetch_add(1, Ordering::AcqRel);
        if used >= reserved {
            counter.used.fetch_sub(1, Ordering::AcqRel);
            return Err(match used >= self.refuse_after {
                true => UseError::Exhausted(self.refuse_after),
                false => UseError::Unreserved,
            });
        }
        if used >= self.warn_after && !counter.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                label,
                used,
                most = self.refuse_after,
                "this version of the key nears the number of encryptions that is safe; rotate the key"
            );
        }
        Ok(reserved - used < BLOCK / 2 && reserved < self.refuse_after)
    }

    /// Reserves blocks where less than half of one is left. It writes a file and waits for the disk.
    pub fn reserve(&self) -> Result<(), UsesError> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = Vec::new();
        let mut text = String::new();
        for (label, counter) in counters.iter() {
            let (used, reserved) =
                (counter.used.load(Ordering::Acquire), counter.reserved.load(Ordering::Acquire));
            let next = if reserved.saturating_sub(used) < BLOCK / 2 {
                (used.max(reserved) + BLOCK).min(self.refuse_after).max(reserved)
            } else {
                reserved
            };
            if next > reserved {
                wanted.push((counter, next));
            }
            text.push_str(&format!("{next} {label}\n"));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        replace(&self.path, text.as_bytes())
            .map_err(|source| UsesError { path: self.path.clone(), source })?;
        for (counter, next) in wanted {
            counter.reserved.store(next, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(folder: &tempfile::TempDir, refuse_after: u64) -> Uses {
        Uses::open(folder.path().join("uses"), 1 << 31, refuse_after).unwrap()
    }

    #[test]
    fn nothing_is_used_before_it_is_reserved_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let uses = uses(&folder, 1 << 32);
        let counter = uses.counter("k");
        assert!(matches!(uses.count("k", &counter), Err(UseError::Unreserved)));
        uses.reserve().unwrap();
        assert!(!uses.count("k", &counter).unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join("uses")).unwrap(), format!("{BLOCK} k\n"));
    }

    #[test]
    fn after_a_restart_no_use_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let before = uses(&folder, 1 << 32);
        let counter = before.counter("k");
        before.reserve().unwrap();
        for _ in 0..10 {
            before.count("k", &counter).unwrap();
        }
        let after = uses(&folder, 1 << 32);
        assert!(after.counter("k").used.load(Ordering::Relaxed) >= 10);
    }

    #[test]
    fn a_version_stops_at_the_limit_and_stays_stopped() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let uses = uses(&folder, 10);
            let counter = uses.counter("k");
            uses.reserve().unwrap();
            let made = (0..20).filter(|_| uses.count("k", &counter).is_ok()).count();
            assert!(made == 10 || made == 0);
            assert!(matches!(uses.count("k", &counter), Err(UseError::Exhausted(10))));
        }
    }

    #[test]
    fn the_next_block_is_asked_for_while_half_of_one_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let uses = uses(&folder, 1 << 32);
        let counter = uses.counter("k");
        uses.reserve().unwrap();
        let asked = (0..BLOCK).position(|_| uses.count("k", &counter).unwrap()).unwrap();
        assert_eq!(asked as u64, BLOCK / 2 + 1);
        uses.reserve().unwrap();
        assert!(!uses.count("k", &counter).unwrap());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("uses"), "12\n").unwrap();
        assert!(Uses::open(folder.path().join("uses"), 1, 2).is_err());
    }
}
