//! The time after an activation in which failing decisions bring the policy before it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_gate::query::Decision;
use tokio::sync::mpsc;

use crate::policy::PolicyFailure;
use holdfast_sandbox::SandboxFailure;

/// When a policy is taken back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutomaticRollback {
    /// Failing decisions.
    pub failures: u64,
    /// After the activation.
    pub within: Duration,
}

/// An activation that failed its probation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Whose.
    pub key_store: String,
    /// Which.
    pub activation: u64,
    /// Failing decisions.
    pub failures: u64,
    /// Since the activation.
    pub after: Duration,
}

/// One activation's probation.
pub(crate) struct Probation {
    key_store: String,
    activation: u64,
    rule: AutomaticRollback,
    begun: Instant,
    failures: AtomicU64,
    failed: mpsc::UnboundedSender<Failed>,
}

impl Probation {
    pub(crate) fn new(
        key_store: &str,
        activation: u64,
        rule: AutomaticRollback,
        failed: mpsc::UnboundedSender<Failed>,
    ) -> Probation {
        Probation {
            key_store: key_store.to_owned(),
            activation,
            rule,
            begun: Instant::now(),
            failures: AtomicU64::new(0),
            failed,
        }
    }

    /// What is left of a probation that a restart interrupted `ago` after the activation. Failures count from 0 again.
    pub(crate) fn resume(self, ago: Duration) -> Option<Probation> {
        let within = self.rule.within.checked_sub(ago).filter(|left| !left.is_zero())?;
        Some(Probation { rule: AutomaticRollback { within, ..self.rule }, ..self })
    }

    /// Counts a decision if it failed: no decision, or one with evaluation errors. That all instances were busy says nothing
    /// of the policy.
    pub(crate) fn note(&self, decided: &Result<Arc<Decision>, PolicyFailure>) {
        let failing = match decided {
            Ok(decision) => !decision.errors.is_empty(),
            Err(failure) => failure.kind != SandboxFailure::Busy,
        };
        if failing {
            self.note_failure();
        }
    }

    /// Counts a failing decision.
    pub(crate) fn note_failure(&self) {
        let after = self.begun.elapsed();
        if after > self.rule.within {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures == self.rule.failures {
            // Nobody listens only while the host ends.
            let _ = self.failed.send(Failed {
                key_store: self.key_store.clone(),
                activation: self.activation,
                failures,
                after,
            });
        }
    }

    /// Failing decisions so far, how many are too many, and for how much longer they count.
    pub(crate) fn standing(&self) -> (u64, u64, Duration) {
        let failures = self.failures.load(Ordering::Relaxed);
        (failures, self.rule.failures, self.rule.within.saturating_sub(self.begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_gate::query::Effect;

    fn decided(errors: &[&str]) -> Result<Arc<Decision>, PolicyFailure> {
        let errors = errors.iter().map(ToString::to_string).collect();
        Ok(Arc::new(Decision { effect: Effect::Deny, rules: Vec::new(), errors, message: None }))
    }

    fn failed(kind: SandboxFailure) -> Result<Arc<Decision>, PolicyFailure> {
        Err(PolicyFailure { kind, detail: String::new() })
    }

    #[test]
    fn failing_decisions_are_told_of_once_and_honest_ones_and_busy_instances_do_not_count() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let rule = AutomaticRollback { failures: 3, within: Duration::from_secs(600) };
        let probation = Probation::new("demo", 7, rule, sender);
        for _ in 0..10 {
            probation.note(&decided(&[]));
            probation.note(&failed(SandboxFailure::Busy));
        }
        probation.note(&failed(SandboxFailure::Trap));
        probation.note(&decided(&["an error"]));
        assert!(told.try_recv().is_err());
        for _ in 0..5 {
            probation.note(&failed(SandboxFailure::Time));
        }
        let Failed { key_store, activation, failures, .. } = told.try_recv().unwrap();
        assert_eq!((key_store.as_str(), activation, failures), ("demo", 7, 3));
        assert!(told.try_recv().is_err());
        assert_eq!(probation.standing().0, 7);
    }

    #[test]
    fn what_fails_after_the_probation_does_not_count() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let probation =
            Probation::new("demo", 7, AutomaticRollback { failures: 1, within: Duration::ZERO }, sender);
        std::thread::yield_now();
        probation.note(&failed(SandboxFailure::Trap));
        assert!(told.try_recv().is_err());
    }
}
