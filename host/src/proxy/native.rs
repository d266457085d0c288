//! The proxy's logic linked natively: for the bench that tells what the sandbox costs, and for nothing else.

use super::{Answer, Proxy};
use crate::gate::{Admission, Grant, Request, Trace};
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::query::Operation;
use holdfast_gate::reply::{Encrypted, Health, KeyMetadata};
use holdfast_gate::{ErrorName, Refusal};
use tokio::time::Instant;

impl Proxy {
    pub(super) async fn answer_natively(
        &self,
        method: &str,
        path: &str,
        request: Request,
        trace: Trace,
        deadline: Instant,
    ) -> (Answer, Trace) {
        let mut gate = Gate(trace);
        let handled = holdfast_proxy::handle(&mut gate, method, path, request);
        let answer = match tokio::time::timeout_at(deadline, handled).await {
            Ok(response) => self.checked(response.status, response.body, &gate.0),
            Err(_) => Answer::refusal(&Refusal::new(ErrorName::DependencyTimeout, "out of time")),
        };
        (answer, gate.0)
    }
}

struct Gate(Trace);

impl Gate {
    fn noted<T>(&mut self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.inspect_err(|refusal| self.0.known.note(refusal))
    }
}

impl holdfast_proxy::Gate for Gate {
    type Request = Request;
    type Admission = Admission;
    type Grant = Grant;

    async fn admit(&mut self, request: Request) -> Result<(Admission, String), Refusal> {
        let result = request.admit(&mut self.0).await;
        self.noted(result)
    }

    async fn authorize(
        &mut self,
        admission: Admission,
        operation: Operation,
        key_id: &str,
    ) -> Result<Grant, Refusal> {
        let result = admission.authorize(operation, key_id, &mut self.0).await;
        self.noted(result)
    }

    async fn health(&mut self, admission: Admission) -> Result<Health, Refusal> {
        let result = admission.health(&mut self.0);
        self.noted(result)
    }

    async fn key_metadata(&mut self, grant: Grant) -> Result<KeyMetadata, Refusal> {
        let result = grant.key_metadata(&mut self.0).await;
        self.noted(result)
    }

    async fn encrypt(&mut self, grant: Grant, inputs: &EncryptInputs) -> Result<Encrypted, Refusal> {
        let result = grant.encrypt(inputs, &mut self.0).await;
        self.noted(result)
    }

    async fn decrypt(&mut self, grant: Grant, inputs: &DecryptInputs) -> Result<Vec<u8>, Refusal> {
        let result = grant.decrypt(inputs, &mut self.0).await;
        self.noted(result).map(|plaintext| plaintext.to_vec())
    }
}
