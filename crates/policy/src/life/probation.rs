//! The time after an activation in which a policy's own failing brings the policy before it back.
//!
//! Going back is a downgrade, so nobody may bring it about from outside. What counts is what the policy alone does wrong: it
//! traps, takes more processor time, memory or stack than it may, or answers what is no answer. Waiting for an instance or a
//! processor doesn't count, nor does an evaluation error, which a caller can choose by what it is called. And several
//! principals must have met it, in a good part of all decisions: one caller who found what makes a policy fail is refused,
//! and takes nothing back.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_gate::query::{Decision, Identity, Query};
use holdfast_sandbox::SandboxFailure;
use tokio::sync::mpsc;

use crate::policy::PolicyFailure;

/// So many different principals must have met failing decisions.
pub(crate) const PRINCIPALS: usize = 3;
/// At least one decision in so many fails.
const SHARE: u64 = 5;
/// Principals that are told apart; more say no more.
const TOLD_APART: usize = 64;

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
    decisions: AtomicU64,
    failures: AtomicU64,
    /// Decisions that had to wait for too long to be judged.
    unjudged: AtomicU64,
    /// Who met failing decisions, a role with all its sessions.
    principals: Mutex<HashSet<u64>>,
    hasher: RandomState,
    is_over: AtomicBool,
    told_of_few: AtomicBool,
    told_of_load: AtomicBool,
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
            decisions: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
            principals: Mutex::default(),
            hasher: RandomState::new(),
            is_over: AtomicBool::new(false),
            told_of_few: AtomicBool::new(false),
            told_of_load: AtomicBool::new(false),
            failed,
        }
    }

    /// What is left of a probation that a restart interrupted `ago` after the activation. Failures count from 0 again.
    pub(crate) fn resume(self, ago: Duration) -> Option<Probation> {
        let within = self.rule.within.checked_sub(ago).filter(|left| !left.is_zero())?;
        Some(Probation { rule: AutomaticRollback { within, ..self.rule }, ..self })
    }

    /// Counts a decision, and judges the policy where it failed by itself.
    pub(crate) fn note(&self, query: &Query, decided: &Result<Arc<Decision>, PolicyFailure>) {
        match decided {
            Err(failure) if failure.kind == SandboxFailure::Busy => self.note_unjudged(),
            Err(_) => self.note_failure(query),
            Ok(_) => {
                self.decisions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A decision had to wait until its request was over: for a processor, or for others of its kind.
    pub(crate) fn note_unjudged(&self) {
        let unjudged = self.unjudged.fetch_add(1, Ordering::Relaxed) + 1;
        if unjudged >= self.rule.failures
            && self.begun.elapsed() <= self.rule.within
            && !self.told_of_load.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                key_store = self.key_store,
                activation = self.activation,
                unjudged,
                "decisions wait until their requests are over, so load prevents judging the policy; it stays, and only \
                 failing of its own counts"
            );
        }
    }

    fn note_failure(&self, query: &Query) {
        let after = self.begun.elapsed();
        if after > self.rule.within {
            return;
        }
        let decisions = self.decisions.fetch_add(1, Ordering::Relaxed) + 1;
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let principals = self.note_principal(query);
        if failures < self.rule.failures || failures.saturating_mul(SHARE) < decisions {
            return;
        }
        if principals < PRINCIPALS {
            if !self.told_of_few.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    key_store = self.key_store,
                    activation = self.activation,
                    failures,
                    principals,
                    "the policy fails, and too few principals have met it to judge by: it stays in force; \
                     `holdfast policy rollback` takes it back"
                );
            }
            return;
        }
        if !self.is_over.swap(true, Ordering::Relaxed) {
            // Nobody listens only while the host ends.
            let _ = self.failed.send(Failed {
                key_store: self.key_store.clone(),
                activation: self.activation,
                failures,
                after,
            });
        }
    }

    /// How many principals have met failing decisions.
    fn note_principal(&self, query: &Query) -> usize {
        let who = match &query.principal {
            Identity::Arn(arn) => match &arn.role {
                Some(role) => self.hasher.hash_one((&arn.partition, &arn.account, role)),
                None => self.hasher.hash_one(&query.principal_text),
            },
            Identity::Service(_) | Identity::Other(_) => self.hasher.hash_one(&query.principal_text),
        };
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if principals.len() < TOLD_APART {
            principals.insert(who);
        }
        principals.len()
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
    use crate::make::load::warm_up;
    use holdfast_gate::arn::identity;
    use holdfast_gate::query::Effect;

    const RULE: AutomaticRollback = AutomaticRollback { failures: 4, within: Duration::from_secs(600) };

    fn probation(rule: AutomaticRollback) -> (Probation, mpsc::UnboundedReceiver<Failed>) {
        let (failed, told) = mpsc::unbounded_channel();
        (Probation::new("demo", 7, rule, failed), told)
    }

    fn from(principal: &str) -> Query {
        Query { principal: identity(principal), principal_text: principal.to_owned(), ..warm_up() }
    }

    fn role(name: &str) -> Query {
        from(&format!("arn:aws:sts::111122223333:assumed-role/{name}/session"))
    }

    fn failing(kind: SandboxFailure) -> Result<Arc<Decision>, PolicyFailure> {
        Err(PolicyFailure { kind, detail: String::new() })
    }

    fn decided(errors: &[&str]) -> Result<Arc<Decision>, PolicyFailure> {
        let errors = errors.iter().map(|error| (*error).to_owned()).collect();
        Ok(Arc::new(Decision { effect: Effect::Deny, rules: Vec::new(), errors, message: None }))
    }

    #[test]
    fn a_policy_that_fails_for_several_principals_is_told_of_once() {
        let (probation, mut told) = probation(RULE);
        for name in ["A", "B", "C", "D", "A", "B"] {
            probation.note(&role(name), &failing(SandboxFailure::Trap));
        }
        let failed = told.try_recv().unwrap();
        assert_eq!((failed.key_store.as_str(), failed.activation, failed.failures), ("demo", 7, 4));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn one_caller_takes_nothing_back_however_it_calls_itself() {
        let (probation, mut told) = probation(RULE);
        for session in 0..100 {
            let mallory = from(&format!("arn:aws:sts::111122223333:assumed-role/Mallory/{session}"));
            probation.note(&mallory, &failing(SandboxFailure::Time));
            probation.note(&role("Other"), &failing(SandboxFailure::Memory));
        }
        assert!(told.try_recv().is_err());
        probation.note(&role("Third"), &failing(SandboxFailure::Output));
        assert!(told.try_recv().is_ok());
    }

    #[test]
    fn a_small_part_of_all_decisions_takes_nothing_back() {
        let (probation, mut told) = probation(RULE);
        (0..100).for_each(|_| probation.note(&role("Honest"), &decided(&[])));
        for name in ["A", "B", "C", "D", "E"] {
            probation.note(&role(name), &failing(SandboxFailure::Stack));
        }
        assert!(told.try_recv().is_err());
        (0..25).for_each(|_| probation.note(&role("A"), &failing(SandboxFailure::Stack)));
        assert!(told.try_recv().is_ok());
    }

    #[test]
    fn neither_waiting_nor_what_a_caller_chose_counts() {
        let (probation, mut told) = probation(RULE);
        for number in 0..100 {
            let who = role(&number.to_string());
            probation.note(&who, &failing(SandboxFailure::Busy));
            probation.note(&who, &decided(&["while evaluating policy0: not a date"]));
            probation.note_unjudged();
        }
        assert!(told.try_recv().is_err());
        assert_eq!(probation.standing().0, 0);
    }

    #[test]
    fn what_fails_after_the_time_of_trial_stays() {
        let (probation, mut told) = probation(AutomaticRollback { within: Duration::ZERO, ..RULE });
        for name in ["A", "B", "C", "D", "E"] {
            probation.note(&role(name), &failing(SandboxFailure::Trap));
        }
        assert!(told.try_recv().is_err());
        assert!(probation.resume(Duration::from_secs(1)).is_none());
    }
}
