//! How often each version of a key has encrypted. AES-GCM with random IVs is good for 2^32 messages (NIST SP 800-38D, 8.3).
//!
//! Uses are reserved in blocks, on disk before the first of a block is made. After a kill the rest of a block counts as used:
//! there may have been fewer uses than counted, never more. Processes that share the file (one that starts while another
//! ends, say) take blocks after one another's, and a file that was put back to an older state counts no less than what is
//! known here.

use crate::shared_file::{lock, replace};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
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
    /// The file of counts is damaged or can't be read: nobody knows how often it has encrypted.
    #[error(
        "{0}: without it nobody knows how often the key has encrypted; restore it from a backup, or rotate the key and remove the file"
    )]
    Unknown(String),
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
    /// Why the counts aren't known; for as long as this process lives.
    unknown: Option<String>,
    /// Why no more were reserved the last time.
    failing: Mutex<Option<String>>,
    warn_after: u64,
    refuse_after: u64,
    counters: Mutex<BTreeMap<String, Arc<Counter>>>,
}

impl Uses {
    /// Reads the file, which needn't exist. Where it can't be read, or is damaged, nothing is counted and so nothing encrypts.
    pub fn open(path: PathBuf, warn_after: u64, refuse_after: u64) -> Uses {
        let (counts, unknown) = match read(&path) {
            Ok(counts) => (counts, None),
            Err(source) => {
                let error = UsesError { path: path.clone(), source };
                tracing::error!(%error, "nothing is encrypted by the HSMs of this key store; decrypting goes on");
                (BTreeMap::new(), Some(error.to_string()))
            }
        };
        let counters =
            counts.into_iter().map(|(label, count)| (label, Arc::new(Counter::after(count)))).collect();
        let (failing, counters) = (Mutex::new(None), Mutex::new(counters));
        Uses { path, unknown, failing, warn_after, refuse_after, counters }
    }

    /// Why encryptions can't be counted, if so.
    pub fn trouble(&self) -> Option<String> {
        let failing = || self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.unknown.clone().or_else(failing)
    }

    /// Whether any version has no uses left that could be made now.
    pub fn is_used_up(&self) -> bool {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        self.unknown.is_some() || counters.values().any(|counter| counter.left() == 0)
    }

    /// The counter of a version, by its label.
    pub fn counter(&self, label: &str) -> Arc<Counter> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry(label.to_owned()).or_default())
    }

    /// Counts one use. True if the next block should be reserved now.
    pub fn count(&self, label: &str, counter: &Counter) -> Result<bool, UseError> {
        if let Some(why) = &self.unknown {
            return Err(UseError::Unknown(why.clone()));
        }
        let used = counter.used.fetch_add(1, Ordering::AcqRel);
        // Read after it: a block may come in between.
        let reserved = counter.reserved.load(Ordering::Acquire);
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
        if self.unknown.is_some() {
            return Ok(());
        }
        let result = self.reserve_blocks();
        let why = result.as_ref().err().map(UsesError::to_string);
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = why;
        result
    }

    fn reserve_blocks(&self) -> Result<(), UsesError> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |counter: &Counter| {
            let left = counter.left();
            left < BLOCK / 2 && counter.reserved.load(Ordering::Acquire) < self.refuse_after
        };
        if !counters.values().any(|counter| is_wanted(counter)) {
            return Ok(());
        }
        let failed = |source| UsesError { path: self.path.clone(), source };
        let _lock = lock(&self.path).map_err(failed)?;
        let mut counts = read(&self.path).map_err(failed)?;
        let mut reserved = Vec::new();
        for (label, counter) in counters.iter() {
            let ours = counter.reserved.load(Ordering::Acquire);
            let all = counts.entry(label.clone()).or_default();
            *all = ours.max(*all);
            if is_wanted(counter) {
                // What other processes reserved since lies between our blocks.
                let (begin, end) = (*all, (*all + BLOCK).min(self.refuse_after).max(*all));
                reserved.push((counter, begin - ours, end));
                *all = end;
            }
        }
        let mut text: String = counts.iter().map(|(label, count)| format!("{count} {label}\n")).collect();
        text.push_str(&end_of(counts.len()));
        replace(&self.path, text.as_bytes()).map_err(failed)?;
        for (counter, skipped, end) in reserved {
            // In this order less is usable meanwhile, not more.
            counter.used.fetch_add(skipped, Ordering::AcqRel);
            counter.reserved.store(end, Ordering::Release);
        }
        Ok(())
    }
}

impl Counter {
    /// After `count` uses, with none reserved.
    fn after(count: u64) -> Counter {
        Counter { used: AtomicU64::new(count), reserved: AtomicU64::new(count), ..Counter::default() }
    }

    fn left(&self) -> u64 {
        self.reserved.load(Ordering::Acquire).saturating_sub(self.used.load(Ordering::Acquire))
    }
}

/// The last line: how many there are before it, so that a file that was cut is told from a whole one.
fn end_of(lines: usize) -> String {
    format!("{END} {lines}\n")
}

const END: &str = "end";

/// The file: how many uses of each version are reserved. One that isn't there counts nothing; one that is there and empty, or
/// cut, counts nobody knows what. Files of before have no last line.
fn read(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    if text.is_empty() {
        return Err(damaged("it is empty, and was cut".to_owned()));
    }
    if !text.ends_with('\n') {
        return Err(damaged("its last line is cut".to_owned()));
    }
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(count) = lines.last().and_then(|line| line.strip_prefix(END)?.strip_prefix(' ')) {
        lines.pop();
        if count.parse() != Ok(lines.len()) {
            return Err(damaged(format!("it has {} lines of {count}", lines.len())));
        }
    }
    let entry = |line: &&str| {
        let (count, label) = line.split_once(' ')?;
        Some((label.to_owned(), count.parse().ok()?))
    };
    lines
        .iter()
        .map(|line| entry(line).ok_or_else(|| damaged(format!("this line is damaged: {line}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(folder: &tempfile::TempDir, refuse_after: u64) -> Uses {
        Uses::open(folder.path().join("uses"), 1 << 31, refuse_after)
    }

    #[test]
    fn nothing_is_used_before_it_is_reserved_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let uses = uses(&folder, 1 << 32);
        let counter = uses.counter("k");
        assert!(matches!(uses.count("k", &counter), Err(UseError::Unreserved)));
        uses.reserve().unwrap();
        assert!(!uses.count("k", &counter).unwrap());
        assert_eq!(
            std::fs::read_to_string(folder.path().join("uses")).unwrap(),
            format!("{BLOCK} k\nend 1\n")
        );
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
    fn processes_that_share_the_file_take_blocks_after_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (uses(&folder, 1 << 32), uses(&folder, 1 << 32));
        let counters = [one.counter("k"), other.counter("k")];
        let mut made = 0;
        for _ in 0..3 {
            for (uses, counter) in [&one, &other].into_iter().zip(&counters) {
                uses.reserve().unwrap();
                while counter.left() > BLOCK / 4 {
                    uses.count("k", counter).unwrap();
                    made += 1;
                }
            }
        }
        assert!(made > 3 * BLOCK);
        let counted = super::read(&folder.path().join("uses")).unwrap()["k"];
        assert!(counted >= made, "{counted} counted, {made} made");
    }

    #[test]
    fn processes_together_stop_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let limit = BLOCK + 10;
        let (one, other) = (uses(&folder, limit), uses(&folder, limit));
        let (ours, theirs) = (one.counter("k"), other.counter("k"));
        one.reserve().unwrap();
        other.reserve().unwrap();
        assert_eq!((0..20).filter(|_| other.count("k", &theirs).is_ok()).count(), 10);
        while one.count("k", &ours).is_ok() {}
        one.reserve().unwrap();
        assert!(matches!(one.count("k", &ours), Err(UseError::Exhausted(_))));
    }

    #[test]
    fn a_file_put_back_to_an_older_state_loses_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uses");
        let uses = uses(&folder, 1 << 32);
        let counter = uses.counter("k");
        uses.reserve().unwrap();
        let older = std::fs::read(&path).unwrap();
        for _ in 0..2 {
            while counter.left() > 0 {
                uses.count("k", &counter).unwrap();
            }
            std::fs::write(&path, &older).unwrap();
            uses.reserve().unwrap();
        }
        assert_eq!(super::read(&path).unwrap()["k"], 3 * BLOCK);
    }

    #[test]
    fn what_is_damaged_cut_or_empty_counts_nobody_knows_what_and_encrypts_nothing() {
        for text in ["", "12\n", "12 k", "131072 k\n131072 l\nend 3\n", "x k\nend 1\n"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("uses"), text).unwrap();
            let uses = uses(&folder, 1 << 32);
            let counter = uses.counter("k");
            uses.reserve().unwrap();
            assert!(matches!(uses.count("k", &counter), Err(UseError::Unknown(_))), "{text:?}");
            assert!(uses.trouble().is_some() && uses.is_used_up(), "{text:?}");
            assert_eq!(
                std::fs::read_to_string(folder.path().join("uses")).unwrap(),
                text,
                "nothing is overwritten"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("uses"), "131072 k\n").unwrap();
        assert!(uses(&folder, 1 << 32).trouble().is_none(), "files of before have no last line");
    }

    #[test]
    fn a_disk_that_refuses_is_told_until_it_takes_the_counts() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let uses = Uses::open(inner.join("uses"), 1 << 31, 1 << 32);
        uses.counter("k");
        std::fs::remove_dir(&inner).unwrap();
        uses.reserve().unwrap_err();
        assert!(uses.trouble().is_some_and(|why| why.contains("uses")) && uses.is_used_up());
        std::fs::create_dir(&inner).unwrap();
        uses.reserve().unwrap();
        assert!(uses.trouble().is_none() && !uses.is_used_up());
    }
}
