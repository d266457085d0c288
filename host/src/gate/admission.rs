//! A request that a credential of its key store has signed.

use super::grant::Grant;
use super::key_store::KeyStore;
use super::trace::{Called, Decided, Trace};
use holdfast_gate::arn::identity;
use holdfast_gate::body::Inputs;
use holdfast_gate::query::{DecryptCounts, Effect, Operation, Query};
use holdfast_gate::reply::{Health, Outcome};
use holdfast_gate::{ErrorName, Refusal};
use std::sync::Arc;

/// Made only by [`super::Request::admit`].
pub struct Admission {
    store: Arc<KeyStore>,
    access_key_id: String,
    tls_peer: Option<Arc<str>>,
    inputs: Inputs,
}

impl Admission {
    pub(super) fn new(
        store: Arc<KeyStore>,
        access_key_id: String,
        tls_peer: Option<Arc<str>>,
        inputs: Inputs,
    ) -> Admission {
        Admission { store, access_key_id, tls_peer, inputs }
    }

    /// Asks the policy about verified facts. `operation` and `key_id` must be those of the signed path; a component
    /// that says otherwise is refused.
    pub async fn authorize(
        self,
        operation: Operation,
        key_id: &str,
        trace: &mut Trace,
    ) -> Result<Grant, Refusal> {
        let signed = matches!(&trace.called, Some(Called::Key { key_id: signed_id, operation: signed })
            if signed_id == key_id && *signed == operation);
        if !signed {
            return Err(differs("operation or key id"));
        }
        // Taken once: the whole request is decided by what was active now.
        let Some(active) = self.store.policy.get() else {
            return Err(denied("no policy is configured for this key store, so every operation is refused"));
        };
        let mut query = self.query(operation, key_id, trace)?;
        query.decrypts = self.store.counter.count(&query);
        trace.decrypts = query.decrypts;
        let decision = active.decide(query).await.map_err(|failure| {
            tracing::error!(key_store = self.store.name, %failure, "the policy failed; the request is refused");
            Refusal::new(ErrorName::Internal, "the policy could not decide; see the proxy's log")
        })?;
        let allow = decision.effect == Effect::Allow && decision.errors.is_empty();
        let message = decision.message.clone();
        trace.decided = Some(Decided { active, decision });
        if !allow {
            return Err(match message {
                Some(message) => Refusal::with(ErrorName::AccessDenied, message),
                None => denied("the key store's policy does not allow this request"),
            });
        }
        Ok(Grant::new(self.store, operation, key_id.to_owned(), self.inputs))
    }

    /// The health of the key store, as the background checks saw it last. Never subject to policy.
    pub fn health(self, trace: &mut Trace) -> Result<Health, Refusal> {
        if trace.called != Some(Called::Health) {
            return Err(differs("operation"));
        }
        let health = Health {
            fleet_size: self.store.fleet_size,
            vendor: "Holdfast".into(),
            model: concat!("Holdfast ", env!("CARGO_PKG_VERSION")).into(),
            ekm_vendor: self.store.backend.vendor(),
            fleet: self.store.backend.fleet(),
        };
        trace.outcome = Outcome::Health(health.clone());
        Ok(health)
    }

    fn query(&self, operation: Operation, key_id: &str, trace: &Trace) -> Result<Query, Refusal> {
        let missing = || Refusal::new(ErrorName::Internal, "the request has no metadata");
        let metadata = trace.metadata.as_ref().ok_or_else(missing)?;
        let principal = metadata.principal.clone().unwrap_or_default();
        Ok(Query {
            key_store: self.store.name.clone(),
            access_key_id: self.access_key_id.clone(),
            key_id: key_id.to_owned(),
            operation,
            principal: identity(&principal),
            principal_text: principal,
            kms_key: metadata.kms_key.as_deref().map(identity),
            kms_operation: metadata.kms_operation.clone(),
            kms_request_id: metadata.kms_request_id.clone(),
            via_service: metadata.via_service.clone(),
            source_vpc: metadata.source_vpc.clone(),
            source_vpce: metadata.source_vpce.clone(),
            other_metadata: metadata.other.clone(),
            tls_peer: self.tls_peer.as_deref().map(str::to_owned),
            time: trace.time,
            decrypts: DecryptCounts::default(),
        })
    }
}

fn denied(message: &'static str) -> Refusal {
    Refusal::new(ErrorName::AccessDenied, message)
}

/// What a component said differs from what was signed.
pub(super) fn differs(what: &str) -> Refusal {
    Refusal::with(ErrorName::Internal, format!("{DIFFERS}{what}"))
}

/// Whether a refusal was made by [`differs`].
pub(super) fn is_difference(refusal: &Refusal) -> bool {
    refusal.message.starts_with(DIFFERS)
}

const DIFFERS: &str = "the request was not processed as it was signed: ";
