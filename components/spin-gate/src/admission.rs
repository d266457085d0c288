//! A request that a credential of its key store has signed, and the permission that a policy gives it.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_gate::arn::identity;
use holdfast_gate::body::{DecryptInputs, EncryptInputs, Inputs};
use holdfast_gate::query::{Effect, Operation, Query};
use holdfast_gate::reply::{Encrypted, Health, KeyMetadata, Outcome};
use holdfast_gate::{ErrorName, Refusal};
use zeroize::Zeroizing;

use crate::exchange::{Called, Trace, differs};
use crate::home::Store;
use crate::keys;
use crate::outside::Outside;

/// Made only by [`crate::Request::admit`].
pub struct Admission {
    pub(crate) store: Store,
    pub(crate) trace: Rc<RefCell<Trace>>,
    pub(crate) inputs: Inputs,
}

/// Made only by [`Admission::authorize`]; every operation consumes it.
pub struct Grant {
    store: Store,
    trace: Rc<RefCell<Trace>>,
    operation: Operation,
    key_id: String,
    inputs: Inputs,
}

/// Keeps the reason of a refusal for the audit record.
fn noted<T>(trace: &Rc<RefCell<Trace>>, result: Result<T, Refusal>) -> Result<T, Refusal> {
    result.inspect_err(|refusal| trace.borrow_mut().note(refusal))
}

impl Admission {
    /// Asks the policy about verified facts. `operation` and `key_id` must be those of the signed path; a component
    /// that says otherwise is refused.
    pub fn authorize(
        self,
        operation: Operation,
        key_id: &str,
        outside: &mut dyn Outside,
    ) -> Result<Grant, Refusal> {
        let trace = self.trace.clone();
        noted(&trace, self.authorized(operation, key_id, outside))
    }

    fn authorized(
        self,
        operation: Operation,
        key_id: &str,
        outside: &mut dyn Outside,
    ) -> Result<Grant, Refusal> {
        let Admission { store, trace, inputs } = self;
        let query = {
            let trace = trace.borrow();
            trace.goes_on()?;
            if trace.called != Some(Called::Key { key_id: key_id.to_owned(), operation }) {
                return Err(differs("operation or key id"));
            }
            query(&store, operation, key_id, &trace)?
        };
        let decision = outside.decide(&query);
        let allow = decision.effect == Effect::Allow && decision.errors.is_empty();
        trace.borrow_mut().decision = Some(decision);
        if !allow {
            return Err(Refusal::new(
                ErrorName::AccessDenied,
                "the key store's policy does not allow this request",
            ));
        }
        Ok(Grant { store, trace, operation, key_id: key_id.to_owned(), inputs })
    }

    /// The health of the key store. Never subject to policy.
    pub fn health(self, outside: &mut dyn Outside) -> Result<Health, Refusal> {
        self.trace.borrow().goes_on()?;
        if self.trace.borrow().called != Some(Called::Health) {
            return noted(&self.trace, Err(differs("operation")));
        }
        let health = self.store.health(outside);
        self.trace.borrow_mut().outcome = Outcome::Health(health.clone());
        Ok(health)
    }
}

fn query(store: &Store, operation: Operation, key_id: &str, trace: &Trace) -> Result<Query, Refusal> {
    let missing = || Refusal::new(ErrorName::Internal, "the request has no metadata");
    let metadata = trace.metadata.as_ref().ok_or_else(missing)?;
    let principal = metadata.principal.clone().unwrap_or_default();
    Ok(Query {
        key_store: store.name().to_owned(),
        access_key_id: trace.access_key_id.clone().unwrap_or_default(),
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
        tls_peer: None,
        time: trace.received.seconds,
    })
}

impl Grant {
    /// GetKeyMetadata.
    pub fn key_metadata(self) -> Result<KeyMetadata, Refusal> {
        self.trace.borrow().goes_on()?;
        let metadata = match self.operation {
            Operation::GetKeyMetadata => self.store.key(&self.key_id).map(keys::metadata),
            Operation::Encrypt | Operation::Decrypt => Err(differs("operation")),
        };
        let metadata = noted(&self.trace, metadata)?;
        self.trace.borrow_mut().outcome = Outcome::KeyMetadata(metadata.clone());
        Ok(metadata)
    }

    /// Encrypt: AAD framing, encryption, CDIV and its verifying decryption, on the signed inputs.
    pub fn encrypt(self, claimed: &EncryptInputs, outside: &mut dyn Outside) -> Result<Encrypted, Refusal> {
        self.trace.borrow().goes_on()?;
        let encrypted = match (self.operation, &self.inputs) {
            (Operation::Encrypt, Inputs::Encrypt(inputs)) if inputs == claimed => {
                self.store.key(&self.key_id).and_then(|key| keys::encrypt(key, inputs, outside))
            }
            (Operation::Encrypt, Inputs::Encrypt(_)) => Err(differs("inputs")),
            _ => Err(differs("operation")),
        };
        let encrypted = noted(&self.trace, encrypted)?;
        self.trace.borrow_mut().outcome = Outcome::Encrypted(encrypted.clone());
        Ok(encrypted)
    }

    /// Decrypt, on the signed inputs.
    pub fn decrypt(self, claimed: &DecryptInputs) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.trace.borrow().goes_on()?;
        let plaintext = match (self.operation, &self.inputs) {
            (Operation::Decrypt, Inputs::Decrypt(inputs)) if inputs == claimed => {
                self.store.key(&self.key_id).and_then(|key| keys::decrypt(key, inputs))
            }
            (Operation::Decrypt, Inputs::Decrypt(_)) => Err(differs("inputs")),
            _ => Err(differs("operation")),
        };
        let plaintext = noted(&self.trace, plaintext)?;
        self.trace.borrow_mut().outcome = Outcome::Plaintext(plaintext.clone());
        Ok(plaintext)
    }
}
