//! What decides for a key store now: swapped as a whole, and taken once by each request.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use holdfast_gate::query::{Decision, Query};

use crate::life::probation::Probation;
use crate::life::shadow::Shadow;
use crate::policy::{Policy, PolicyFailure};

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `[key_store.policy]` of the configuration.
    Configuration,
    /// An activation of a staged artefact.
    Activation {
        /// Counts the activations of the key store from 1.
        number: u64,
        /// The artefact's digest, in hexadecimal.
        artefact: String,
    },
}

impl Origin {
    /// The artefact's digest; `None` for the configuration's policy.
    pub fn artefact(&self) -> Option<&str> {
        match self {
            Origin::Configuration => None,
            Origin::Activation { artefact, .. } => Some(artefact),
        }
    }
}

/// A policy that decides, and what watches it.
pub struct Active {
    /// What decides.
    pub policy: Arc<dyn Policy>,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it can't be used, in which case it refuses everything.
    pub unusable: Option<String>,
    /// Counts failing decisions for a while after an activation.
    pub(crate) probation: Option<Arc<Probation>>,
    /// What decides beside it without counting.
    pub(crate) shadow: Option<Arc<Shadow>>,
}

impl Active {
    /// A policy that nothing watches.
    pub fn new(policy: Arc<dyn Policy>, origin: Origin) -> Active {
        Active { policy, origin, unusable: None, probation: None, shadow: None }
    }

    /// Decides one query. A failure is never an allow: the gate refuses with InternalException.
    pub async fn decide(&self, query: Query) -> Result<Arc<Decision>, PolicyFailure> {
        let given_up = GivenUp { active: self, begun: Instant::now() };
        let decided = self.policy.decide(&query).await;
        given_up.not();
        if let Some(probation) = &self.probation {
            probation.note(&decided);
        }
        if let Some(shadow) = &self.shadow {
            shadow.offer(query, decided.as_ref().ok().cloned());
        }
        decided
    }

    /// The same policy with another shadow.
    pub(crate) fn with_shadow(&self, shadow: Option<Arc<Shadow>>) -> Active {
        Active {
            policy: self.policy.clone(),
            origin: self.origin.clone(),
            unusable: self.unusable.clone(),
            probation: self.probation.clone(),
            shadow,
        }
    }

    /// What is counted of the candidate beside it, if there is one.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_deref()
    }
}

/// A decision without an end so far. Its request may end first, and drop it.
struct GivenUp<'a> {
    active: &'a Active,
    begun: Instant,
}

impl GivenUp<'_> {
    /// There is an end.
    fn not(self) {
        std::mem::forget(self);
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        // Where a policy loops, most requests run out of their budget while they wait for others of its decisions: if these
        // didn't count, it would stay in force the longer, the more requests there are.
        if self.active.policy.given_up(self.begun.elapsed())
            && let Some(probation) = &self.active.probation
        {
            probation.note_failure();
        }
    }
}

/// The place of a key store's policy.
#[derive(Default)]
pub struct PolicySlot(RwLock<Option<Arc<Active>>>);

impl PolicySlot {
    /// With this policy; none refuses.
    pub fn new(active: Option<Active>) -> PolicySlot {
        PolicySlot(RwLock::new(active.map(Arc::new)))
    }

    /// What decides now. Whoever takes it decides a whole request by it.
    pub fn get(&self) -> Option<Arc<Active>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that begin from now on are decided by this one. Gives the one before.
    pub(crate) fn swap(&self, active: Option<Arc<Active>>) -> Option<Arc<Active>> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), active)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::life::probation::AutomaticRollback;
    use crate::make::load::warm_up;
    use crate::policy::{Deciding, PolicyIdentity, PolicyMetrics};

    /// Never decides.
    struct Endless {
        identity: PolicyIdentity,
        time: Duration,
    }

    impl Policy for Endless {
        fn decide<'a>(&'a self, _: &'a Query) -> Deciding<'a> {
            Box::pin(std::future::pending())
        }

        fn given_up(&self, after: Duration) -> bool {
            after >= self.time
        }

        fn identity(&self) -> &PolicyIdentity {
            &self.identity
        }

        fn metrics(&self) -> PolicyMetrics {
            PolicyMetrics::default()
        }
    }

    /// Failures that the probation counts after one request that ended before its decision.
    async fn failures_of_one_given_up(time: Duration) -> u64 {
        let identity = PolicyIdentity::default();
        let (failed, _told) = mpsc::unbounded_channel();
        let rule = AutomaticRollback { failures: 9, within: Duration::from_secs(600) };
        let probation = Arc::new(Probation::new("demo", 1, rule, failed));
        let active = Active {
            probation: Some(probation.clone()),
            ..Active::new(Arc::new(Endless { identity, time }), Origin::Configuration)
        };
        let deciding = active.decide(warm_up());
        assert!(tokio::time::timeout(Duration::from_millis(10), deciding).await.is_err());
        probation.standing().0
    }

    #[tokio::test]
    async fn a_decision_that_its_request_gave_up_counts_where_the_policys_time_was_over() {
        assert_eq!(failures_of_one_given_up(Duration::from_millis(5)).await, 1);
        assert_eq!(failures_of_one_given_up(Duration::from_secs(600)).await, 0);
    }
}
