//! Errors of a module: counted, and told once in a while with their number, those too that were mended by a second try.

use crate::rv::{CallError, Meaning};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time from line to line.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Errors {
    count: AtomicU64,
    /// When the last line was written, and how many there had been.
    told: Mutex<Option<(Instant, u64)>>,
}

impl Errors {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one. What a caller's input makes isn't one.
    pub(super) fn note(&self, hsm: &str, error: &CallError) {
        if let Some(since) = self.counted(error) {
            tracing::warn!(hsm, %error, since, "the module fails in operations; those that can be mended are tried once more");
        }
    }

    /// How many there were since the last line, if one is due.
    fn counted(&self, error: &CallError) -> Option<u64> {
        if !matches!(error.reaction().meaning, Meaning::Failed | Meaning::Unavailable | Meaning::Ambiguous) {
            return None;
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, before) = told.unzip();
        if last.is_some_and(|last| last.elapsed() < QUIET) {
            return None;
        }
        *told = Some((Instant::now(), count));
        Some(count - before.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_ENCRYPTED_DATA_INVALID};

    #[test]
    fn errors_are_told_once_and_counted_each_and_bad_ciphertexts_are_none() {
        let errors = Errors::default();
        let error = |code| CallError { function: "C_Encrypt", code };
        assert_eq!(errors.counted(&error(CKR_ENCRYPTED_DATA_INVALID)), None);
        assert_eq!(errors.counted(&error(CKR_DEVICE_ERROR)), Some(1));
        assert_eq!(errors.counted(&error(CKR_DEVICE_ERROR)), None);
        assert_eq!(errors.count(), 2);
    }
}
