//! What decides for a key store now: swapped as a whole, and taken once by each request.

use std::sync::{Arc, PoisonError, RwLock};

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
        let waiting = Waiting(self.probation.as_deref());
        let decided = self.policy.decide(&query).await;
        waiting.ended();
        if let Some(probation) = &self.probation {
            probation.note(&query, &decided);
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
struct Waiting<'a>(Option<&'a Probation>);

impl Waiting<'_> {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(probation) = self.0 {
            probation.note_unjudged();
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
