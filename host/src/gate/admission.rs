//! A request that a credential of its key store has signed.

use super::grant::Grant;
use super::key_store::KeyStore;
use super::trace::Trace;
use holdfast_gate::query::Operation;
use holdfast_gate::reply::Health;
use holdfast_gate::{ErrorName, Refusal, admission, backend, refusals};
use std::sync::Arc;

/// Made only by [`super::Request::admit`].
pub struct Admission {
    store: Arc<KeyStore>,
    tls_peer: Option<Arc<str>>,
    admitted: admission::Admission,
}

impl Admission {
    pub(super) fn new(
        store: Arc<KeyStore>,
        tls_peer: Option<Arc<str>>,
        admitted: admission::Admission,
    ) -> Admission {
        Admission { store, tls_peer, admitted }
    }

    /// Asks the policy about verified facts. `operation` and `key_id` must be those of the signed path; a component
    /// that says otherwise is refused.
    pub async fn authorize(
        self,
        operation: Operation,
        key_id: &str,
        trace: &mut Trace,
    ) -> Result<Grant, Refusal> {
        let Admission { store, tls_peer, admitted } = self;
        let (name, counter) = (&store.name, &store.counter);
        let (asked, query) =
            admitted.ask(operation, key_id, name, tls_peer.as_deref(), counter, &mut trace.known)?;
        // Taken once: the whole request is decided by what was active now.
        let active = store.policy.get().ok_or(Refusal::new(
            ErrorName::AccessDenied,
            "no policy is configured for this key store, so every operation is refused",
        ))?;
        // Before the answer: the records of a policy that fails, or is too late, must say which one it was.
        trace.asked = Some(active.clone());
        let decision = active.decide(query).await.map_err(|failure| {
            tracing::error!(key_store = name, %failure, "the policy failed; the request is refused");
            refusals::undecided()
        })?;
        let granted = asked.decided(decision, &mut trace.known)?;
        Ok(Grant::new(store, granted))
    }

    /// The health of the key store, as the background checks saw it last. Never subject to policy.
    pub fn health(self, trace: &mut Trace) -> Result<Health, Refusal> {
        let Admission { store, admitted, .. } = self;
        let health = || backend::health(store.fleet_size, store.backend.vendor(), store.managers());
        admitted.health(health, &mut trace.known)
    }
}
