//! The policy of a key store whose policy can't be loaded: it refuses everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_gate::query::Query;

use crate::life::active::{Active, Origin};
use crate::policy::{Deciding, Policy, PolicyFailure, PolicyIdentity, PolicyMetrics};
use holdfast_sandbox::SandboxFailure;

/// Stands where a policy should be.
struct UnusablePolicy {
    identity: PolicyIdentity,
    why: String,
    refused: AtomicU64,
}

/// Refuses every query because the policy from `origin` can't be loaded.
pub(crate) fn unusable(origin: Origin, why: String) -> Active {
    let policy =
        UnusablePolicy { identity: PolicyIdentity::default(), why: why.clone(), refused: AtomicU64::new(0) };
    Active { unusable: Some(why), ..Active::new(Arc::new(policy), origin) }
}

impl Policy for UnusablePolicy {
    fn decide<'a>(&'a self, _: &'a Query) -> Deciding<'a> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let failure = PolicyFailure { kind: SandboxFailure::Unusable, detail: self.why.clone() };
        Box::pin(std::future::ready(Err(failure)))
    }

    fn identity(&self) -> &PolicyIdentity {
        &self.identity
    }

    fn metrics(&self) -> PolicyMetrics {
        let failures = vec![(SandboxFailure::Unusable, self.refused.load(Ordering::Relaxed))];
        PolicyMetrics { failures, ..PolicyMetrics::default() }
    }
}
