//! One request from route to answer.

use crate::body;
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::reply::{Encrypted, Health, KeyMetadata, render};
use holdfast_gate::target::{Call, Operation, Target};
use holdfast_gate::{ErrorName, Refusal};

/// What the proxy can ask of the gate (`wit/gate`): each step consumes the one before.
#[allow(
    async_fn_in_trait,
    reason = "one implementation in a component, one in the bench; none crosses threads here"
)]
pub trait Gate {
    /// A request that nobody vouches for yet.
    type Request;
    /// A request signed by a credential of this key store.
    type Admission;
    /// The permission to do one operation.
    type Grant;

    /// Authenticates; gives the signed body.
    async fn admit(&mut self, request: Self::Request) -> Result<(Self::Admission, String), Refusal>;
    /// Asks the policy.
    async fn authorize(
        &mut self,
        admission: Self::Admission,
        operation: Operation,
        key_id: &str,
    ) -> Result<Self::Grant, Refusal>;
    /// GetHealthStatus.
    async fn health(&mut self, admission: Self::Admission) -> Result<Health, Refusal>;
    /// GetKeyMetadata.
    async fn key_metadata(&mut self, grant: Self::Grant) -> Result<KeyMetadata, Refusal>;
    /// Encrypt.
    async fn encrypt(&mut self, grant: Self::Grant, inputs: &EncryptInputs) -> Result<Encrypted, Refusal>;
    /// Decrypt.
    async fn decrypt(&mut self, grant: Self::Grant, inputs: &DecryptInputs) -> Result<Vec<u8>, Refusal>;
}

/// An HTTP status and a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// 200, or the status of the error.
    pub status: u16,
    /// The JSON text.
    pub body: String,
}

/// Answers one request. `path` is what follows the key store's URI path.
pub async fn handle<G: Gate>(gate: &mut G, method: &str, path: &str, request: G::Request) -> Response {
    let Some(call) = (Target { prefix: "", tail: path }).call() else {
        return refused(&Refusal::new(
            ErrorName::InvalidUriPath,
            "no such API; use /health or /keys/ID/{metadata,encrypt,decrypt} after the key store's path",
        ));
    };
    if method != "POST" {
        // The specification asks for this status and has no errorName for it (checklist T2).
        let refusal = Refusal::new(ErrorName::InvalidUriPath, "this API takes POST only");
        return Response { status: 405, body: refusal.to_json() };
    }
    match answer(gate, call, request).await {
        Ok(body) => Response { status: 200, body },
        Err(refusal) => refused(&refusal),
    }
}

async fn answer<G: Gate>(gate: &mut G, call: Call<'_>, request: G::Request) -> Result<String, Refusal> {
    let (admission, text) = gate.admit(request).await?;
    let Call::Key { key_id, operation } = call else {
        return Ok(render::health(&gate.health(admission).await?));
    };
    match operation {
        Operation::GetKeyMetadata => {
            let grant = gate.authorize(admission, operation, key_id).await?;
            Ok(render::key_metadata(&gate.key_metadata(grant).await?))
        }
        Operation::Encrypt => {
            let inputs = body::encrypt_inputs(&text)?;
            let grant = gate.authorize(admission, operation, key_id).await?;
            Ok(json(render::encrypted(&gate.encrypt(grant, &inputs).await?)))
        }
        Operation::Decrypt => {
            let inputs = body::decrypt_inputs(&text)?;
            let grant = gate.authorize(admission, operation, key_id).await?;
            let mut body = render::plaintext(&gate.decrypt(grant, &inputs).await?);
            Ok(json(std::mem::take(&mut *body)))
        }
    }
}

/// What was rendered is ASCII; the gate would refuse an empty answer.
fn json(rendered: Vec<u8>) -> String {
    String::from_utf8(rendered).unwrap_or_default()
}

fn refused(refusal: &Refusal) -> Response {
    Response { status: refusal.name.status(), body: refusal.to_json() }
}

#[cfg(test)]
mod tests;
