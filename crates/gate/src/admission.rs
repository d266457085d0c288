//! A request that a credential of its key store has signed, and what a policy makes of it.

use std::sync::Arc;

use crate::arn::identity;
use crate::body::Inputs;
use crate::counter::Counter;
use crate::grant::Grant;
use crate::query::{Decision, DecryptCounts, Effect, Operation, Query};
use crate::refusals::differs;
use crate::reply::{Health, Outcome};
use crate::target::{Call, Called};
use crate::trace::Trace;
use crate::{ErrorName, Refusal};

/// Made only by [`crate::request::Authentic::admit`].
pub struct Admission {
    access_key_id: String,
    inputs: Inputs,
}

/// What a policy is asked about. Made only by [`Admission::ask`].
pub struct Asked {
    operation: Operation,
    key_id: String,
    inputs: Inputs,
}

impl Admission {
    pub(crate) fn new(access_key_id: String, inputs: Inputs) -> Admission {
        Admission { access_key_id, inputs }
    }

    /// The query of verified facts. `operation` and `key_id` must be those of the signed path; a component that says
    /// otherwise is refused. Counts a Decrypt, whatever will be decided.
    pub fn ask(
        self,
        operation: Operation,
        key_id: &str,
        key_store: &str,
        tls_peer: Option<&str>,
        counter: &Counter,
        trace: &mut Trace,
    ) -> Result<(Asked, Query), Refusal> {
        if trace.called.as_ref().map(Called::call) != Some(Call::Key { key_id, operation }) {
            return Err(differs("operation or key id"));
        }
        let missing = || Refusal::new(ErrorName::Internal, "the request has no metadata");
        let metadata = trace.metadata.as_ref().ok_or_else(missing)?;
        let principal = metadata.principal.clone().unwrap_or_default();
        let mut query = Query {
            key_store: key_store.to_owned(),
            access_key_id: self.access_key_id,
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
            tls_peer: tls_peer.map(str::to_owned),
            time: trace.time,
            decrypts: DecryptCounts::default(),
        };
        query.decrypts = counter.count(&query);
        trace.decrypts = Some(query.decrypts);
        Ok((Asked { operation, key_id: key_id.to_owned(), inputs: self.inputs }, query))
    }

    /// The health of the key store. Never subject to policy.
    pub fn health(self, health: impl FnOnce() -> Health, trace: &mut Trace) -> Result<Health, Refusal> {
        if trace.called != Some(Called::Health) {
            return Err(differs("operation"));
        }
        let health = health();
        trace.outcome = Outcome::Health(health.clone());
        Ok(health)
    }
}

impl Asked {
    /// Only an allow without errors makes a grant.
    pub fn decided(self, decision: Arc<Decision>, trace: &mut Trace) -> Result<Grant, Refusal> {
        let allow = decision.effect == Effect::Allow && decision.errors.is_empty();
        let message = decision.message.clone();
        trace.decision = Some(decision);
        if !allow {
            return Err(match message {
                Some(message) => Refusal::with(ErrorName::AccessDenied, message),
                None => Refusal::new(
                    ErrorName::AccessDenied,
                    "the key store's policy does not allow this request",
                ),
            });
        }
        Ok(Grant::new(self.operation, self.key_id, self.inputs))
    }
}
