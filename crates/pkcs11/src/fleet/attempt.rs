//! One operation on one HSM, and on another if that fails.

use super::Inner;
use crate::call::Call;
use crate::catalog::Version;
use crate::fault::Fault;
use crate::quirks::IvSource;
use crate::request::{Answer, Iv, Operation, Work};
use crate::rv::Repair;
use holdfast_gate::backend::BackendError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// An HSM that had less than this for an operation isn't judged by not having done it.
const FAIR_TIME: Duration = Duration::from_millis(25);

impl Inner {
    /// Does an operation on the least loaded HSM that serves and has the version; once more on another if that may help.
    pub(super) async fn run(
        &self,
        operation: Operation,
        version: &Version,
        iv: Option<Iv>,
        aad: Arc<[u8]>,
        data: Arc<Zeroizing<Vec<u8>>>,
        deadline: Instant,
    ) -> Result<(Answer, usize), BackendError> {
        // One that is verified is two of the HSM's.
        let parts = if operation == Operation::EncryptVerified { 2 } else { 1 };
        let mut tried: u16 = 0;
        let mut attempts = 0;
        let mut failed = None;
        while let Some((index, has_other)) = self.choose(version.on, tried) {
            tried |= 1 << index;
            let hsm = &self.hsms[index];
            let now = Instant::now();
            if now >= deadline {
                return Err(BackendError::Timeout);
            }
            // The second attempt is the last, whoever is left.
            let until = match has_other && attempts == 0 {
                true => deadline.min(now + self.first_attempt(parts, deadline.duration_since(now))),
                false => deadline,
            };
            let by_hsm = hsm.settings.quirks.iv != IvSource::Host;
            let iv = match iv {
                Some(iv) => iv,
                None if by_hsm => Iv::zero(12),
                None => {
                    Iv::random().map_err(|error| BackendError::Failed(format!("no randomness: {error}")))?
                }
            };
            if operation.encrypts() {
                let counted = self.uses.count(&version.label, &version.counter);
                // Where none are left because the disk failed, that may have passed.
                if !matches!(counted, Ok(false)) {
                    self.reserve_soon();
                }
                counted?;
            }
            let work = Work {
                operation,
                label: Arc::clone(&version.label),
                check_value: Arc::clone(&version.check_value),
                iv,
                aad: Arc::clone(&aad),
                data: Arc::clone(&data),
            };
            let result = match hsm.submit(Call::new(work, until), false) {
                Ok(pending) => {
                    attempts += 1;
                    let result = pending.await;
                    let failed = match &result {
                        Ok(answer) => answer.repaired,
                        Err(Fault::Call(error)) => Some(*error),
                        Err(_) => None,
                    };
                    if let Some(error) = failed {
                        hsm.note(&error);
                        // The module may have encrypted before it failed: a try that was repeated is two uses.
                        if operation.encrypts() && error.reaction().repair != Repair::None {
                            // Where none is left, the next encryption says so.
                            let _ = self.uses.count(&version.label, &version.counter);
                        }
                    }
                    result
                }
                Err(fault) => Err(fault),
            };
            let fault = match result {
                Ok(answer) => match hsm.judge(operation, iv, &answer) {
                    Ok(()) => {
                        hsm.record(None);
                        return Ok((answer, index));
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            // A caller that came late says nothing about the HSM.
            if fault != Fault::Timeout || until.saturating_duration_since(now) >= FAIR_TIME * parts {
                hsm.record(Some(&fault));
            }
            let error = match fault.told_of(&hsm.settings.name) {
                // What is encrypted can't be altered: the code makes no sense.
                BackendError::InvalidCiphertext if operation.encrypts() => {
                    BackendError::Failed(format!("{}: {fault}", hsm.settings.name))
                }
                error => error,
            };
            if !fault.elsewhere() {
                return Err(error);
            }
            tracing::debug!(hsm = hsm.settings.name, %fault, "another HSM is tried");
            failed = Some(error);
            if attempts == 2 {
                break;
            }
        }
        Err(failed.unwrap_or_else(|| self.unavailable()))
    }

    /// How long the first attempt may take of the time that is `left`: twice as long for an operation of two parts, if it leaves
    /// as much for the second.
    fn first_attempt(&self, parts: u32, left: Duration) -> Duration {
        let time = self.settings.attempt_time;
        (time * parts).min(time.max(left / 2))
    }

    /// The least loaded HSM that serves, of equals each in its turn; and whether there is another.
    fn choose(&self, on: u16, tried: u16) -> Option<(usize, bool)> {
        let (count, turn) = (self.hsms.len(), self.turn.fetch_add(1, Ordering::Relaxed));
        let candidates = || {
            let usable = |index: &usize| (on & !tried) & (1 << index) != 0 && self.hsms[*index].is_serving();
            (0..count).map(|step| (turn % count + step) % count).filter(usable)
        };
        let least = candidates().min_by_key(|index| self.hsms[*index].lane.load())?;
        Some((least, candidates().count() > 1))
    }
}
