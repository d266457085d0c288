//! The logic as a component: the trait of the handler carried out by the imports of `holdfast:gate`.

use crate::handler;
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::reply;
use holdfast_gate::target::Operation;
use holdfast_gate::{ErrorName, Refusal};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

wit_bindgen::generate!({
    path: ["../../wit/gate", "../../wit/proxy"],
    world: "holdfast:proxy/proxy",
    generate_all,
});

use exports::holdfast::proxy::handler::{Guest, Response};
use holdfast::gate::types::{self, Admission, Grant, Request};

#[global_allocator]
static ARENA: holdfast_arena::Arena = holdfast_arena::Arena::new();

struct Component;

impl Guest for Component {
    fn handle(method: String, path: String, request: Request) -> Response {
        let response = ready(handler::handle(&mut Imports, &method, &path, request));
        Response { status: response.status, body: response.body }
    }
}

/// Runs a future that never waits: every import is synchronous.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

struct Imports;

impl handler::Gate for Imports {
    type Request = Request;
    type Admission = Admission;
    type Grant = Grant;

    async fn admit(&mut self, request: Request) -> Result<(Admission, String), Refusal> {
        let admitted = Request::admit(request).map_err(refusal)?;
        Ok((admitted.admission, admitted.body))
    }

    async fn authorize(
        &mut self,
        admission: Admission,
        operation: Operation,
        key_id: &str,
    ) -> Result<Grant, Refusal> {
        let operation = match operation {
            Operation::GetKeyMetadata => types::Operation::GetKeyMetadata,
            Operation::Encrypt => types::Operation::Encrypt,
            Operation::Decrypt => types::Operation::Decrypt,
        };
        Admission::authorize(admission, operation, key_id).map_err(refusal)
    }

    async fn health(&mut self, admission: Admission) -> Result<reply::Health, Refusal> {
        let health = Admission::health(admission).map_err(refusal)?;
        let fleet = health.fleet.into_iter().map(|manager| reply::KeyManager {
            id: manager.id,
            model: manager.model,
            status: match manager.status {
                types::HealthStatus::Active => reply::HealthStatus::Active,
                types::HealthStatus::Degraded => reply::HealthStatus::Degraded,
                types::HealthStatus::Unavailable => reply::HealthStatus::Unavailable,
            },
        });
        Ok(reply::Health {
            fleet_size: health.fleet_size,
            vendor: health.vendor,
            model: health.model,
            ekm_vendor: health.ekm_vendor,
            fleet: fleet.collect(),
        })
    }

    async fn key_metadata(&mut self, grant: Grant) -> Result<reply::KeyMetadata, Refusal> {
        let metadata = Grant::get_key_metadata(grant).map_err(refusal)?;
        Ok(reply::KeyMetadata {
            key_spec: metadata.key_spec,
            key_usage: metadata.key_usage,
            enabled: metadata.enabled,
        })
    }

    async fn encrypt(&mut self, grant: Grant, inputs: &EncryptInputs) -> Result<reply::Encrypted, Refusal> {
        let input = types::EncryptInput {
            plaintext: inputs.plaintext.to_vec(),
            aad: inputs.aad.clone(),
            with_cdiv: inputs.with_cdiv,
        };
        let encrypted = Grant::encrypt(grant, &input).map_err(refusal)?;
        let cdiv = encrypted.cdiv.map(<[u8; 32]>::try_from).transpose();
        Ok(reply::Encrypted {
            ciphertext: encrypted.ciphertext,
            iv: encrypted.iv,
            tag: encrypted.tag,
            metadata: encrypted.metadata,
            cdiv: cdiv
                .map_err(|_| Refusal::new(ErrorName::Internal, "the integrity value is not 32 bytes"))?,
        })
    }

    async fn decrypt(&mut self, grant: Grant, inputs: &DecryptInputs) -> Result<Vec<u8>, Refusal> {
        let input = types::DecryptInput {
            ciphertext: inputs.ciphertext.clone(),
            iv: inputs.iv.clone(),
            tag: inputs.tag.clone(),
            aad: inputs.aad.clone(),
            metadata: inputs.metadata.clone(),
        };
        Grant::decrypt(grant, &input).map_err(refusal)
    }
}

fn refusal(refusal: types::Refusal) -> Refusal {
    use types::ErrorName as Wit;
    let name = match refusal.name {
        Wit::Validation => ErrorName::Validation,
        Wit::InvalidState => ErrorName::InvalidState,
        Wit::InvalidCiphertext => ErrorName::InvalidCiphertext,
        Wit::InvalidKeyUsage => ErrorName::InvalidKeyUsage,
        Wit::AuthenticationFailed => ErrorName::AuthenticationFailed,
        Wit::AccessDenied => ErrorName::AccessDenied,
        Wit::KeyNotFound => ErrorName::KeyNotFound,
        Wit::InvalidUriPath => ErrorName::InvalidUriPath,
        Wit::Throttling => ErrorName::Throttling,
        Wit::Internal => ErrorName::Internal,
        Wit::UnsupportedOperation => ErrorName::UnsupportedOperation,
        Wit::DependencyTimeout => ErrorName::DependencyTimeout,
    };
    Refusal::with(name, refusal.message)
}

export!(Component);
