//! The imports of `holdfast:gate`, used as they shouldn't be.

use crate::exhaust::{exhaust, recurse, spin};
use crate::{handler, lies};
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::reply;
use holdfast_gate::target::Operation;
use holdfast_gate::{ErrorName, Refusal};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

wit_bindgen::generate!({
    path: ["../../../wit/gate", "../../../wit/proxy"],
    world: "holdfast:proxy/proxy",
    generate_all,
});

use exports::holdfast::proxy::handler::{Guest, Response};
use holdfast::gate::types::{self, Admission, Grant, Request};

struct Component;

impl Guest for Component {
    fn handle(method: String, path: String, request: Request) -> Response {
        let early = path.split('/').find_map(|segment| segment.strip_prefix("hostile-")).unwrap_or_default();
        exhaust(early);
        match early {
            "drop" => drop(request),
            // SAFETY: none: no such handle was ever given to this component; the host is to find out.
            "forged-request" => {
                return honest(&method, &path, unsafe { Request::from_handle(request.handle() + 1) });
            }
            "forged-admission" => {
                // SAFETY: as above.
                let forged = unsafe { Admission::from_handle(1) };
                let _ = Admission::authorize(forged, types::Operation::Encrypt, "demo");
            }
            "forged-grant" => {
                // SAFETY: as above.
                let forged = unsafe { Grant::from_handle(1) };
                let _ = Grant::get_key_metadata(forged);
            }
            // The request's own handle, taken for what would need no admission.
            "request-as-grant" => {
                // SAFETY: as above, and of another type.
                let forged = unsafe { Grant::from_handle(request.take_handle()) };
                let _ = Grant::get_key_metadata(forged);
            }
            "admit-twice" => {
                let handle = request.handle();
                let _ = Request::admit(request);
                // SAFETY: none: the handle was consumed by the call before; the host is to find out.
                let _ = Request::admit(unsafe { Request::from_handle(handle) });
            }
            // Whatever method and path are.
            "admit" => {
                return match Request::admit(request).map_err(refusal) {
                    Ok(_) => Response { status: 200, body: lies::ENCRYPTED.into() },
                    Err(refusal) => Response { status: refusal.name.status(), body: refusal.to_json() },
                };
            }
            _ => {
                if let Some(depth) = depth(early) {
                    return at_depth(depth, &method, &path, request);
                }
                if let Some(answer) = lies::unasked(early) {
                    return answer;
                }
                return honest(&method, &path, request);
            }
        }
        Response { status: 200, body: lies::ENCRYPTED.into() }
    }
}

/// The honest answer, made with all but the last of the stack used up.
fn at_depth(depth: u64, method: &str, path: &str, request: Request) -> Response {
    let (mut request, mut answer) = (Some(request), None);
    recurse(depth, &mut || answer = request.take().map(|request| honest(method, path, request)));
    answer.unwrap_or(Response { status: 200, body: String::new() })
}

/// Of `deep-DEPTH`.
fn depth(name: &str) -> Option<u64> {
    name.strip_prefix("deep-")?.parse().ok()
}

/// What a host call gives that is made with `name`'s depth of the stack used up.
fn called_at<T>(name: &str, call: impl FnOnce() -> Result<T, types::Refusal>) -> Result<T, Refusal> {
    let (mut call, mut result) = (Some(call), None);
    recurse(depth(name).unwrap_or(0), &mut || result = call.take().map(|call| call()));
    match result {
        Some(result) => result.map_err(refusal),
        None => Err(Refusal::new(ErrorName::Internal, "it was never called")),
    }
}

/// Honest up to the admission; then as the signed body says.
fn honest(method: &str, path: &str, request: Request) -> Response {
    let mut gate = Imports::default();
    let answer = ready(handler::handle(&mut gate, method, path, request));
    match gate.late.as_str() {
        "loop-after" => spin(),
        "trap-after" => exhaust("trap"),
        "allocate-after" => exhaust("allocate"),
        _ => {}
    }
    let (status, body) = lies::after(&gate.late, answer.status, answer.body, &gate.plaintext, &gate.seen);
    Response { status, body }
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

#[derive(Default)]
struct Imports {
    /// What the signed body asks for.
    late: String,
    /// What it holds to be encrypted.
    seen: String,
    /// What was decrypted.
    plaintext: Vec<u8>,
}

impl Imports {
    fn is(&self, name: &str) -> bool {
        self.late == name
    }
}

impl handler::Gate for Imports {
    type Request = Request;
    type Admission = Admission;
    type Grant = Grant;

    async fn admit(&mut self, request: Request) -> Result<(Admission, String), Refusal> {
        let admitted = Request::admit(request).map_err(refusal)?;
        if let Some((_, name)) = admitted.body.split_once("\"hostile-") {
            self.late = name.split('"').next().unwrap_or_default().to_owned();
        }
        if let Some((_, text)) = admitted.body.split_once("\"plaintext\":\"") {
            self.seen = text.split('"').next().unwrap_or_default().to_owned();
        }
        exhaust(&self.late);
        if let Some(name) = self.late.strip_prefix("tell-").and_then(ErrorName::from_text) {
            return Err(Refusal::with(name, self.seen.as_str()));
        }
        if self.is("authorize-twice") {
            let handle = admitted.admission.handle();
            let first = Admission::authorize(admitted.admission, types::Operation::Encrypt, "demo");
            // SAFETY: none: the handle was consumed by the call before; the host is to find out.
            let again = unsafe { Admission::from_handle(handle) };
            let second = Admission::authorize(again, types::Operation::Encrypt, "demo");
            drop((first, second));
            return Err(Refusal::new(ErrorName::Validation, "one admission was taken twice"));
        }
        if self.is("health-of-a-key") {
            Admission::health(admitted.admission).map_err(refusal)?;
            return Err(Refusal::new(ErrorName::Validation, "health was given for a key"));
        }
        if self.is("key-of-a-health") {
            let grant = Admission::authorize(admitted.admission, types::Operation::Encrypt, "demo");
            let grant = grant.map_err(refusal)?;
            Grant::get_key_metadata(grant).map_err(refusal)?;
            return Err(Refusal::new(ErrorName::Validation, "a key was given for health"));
        }
        Ok((admitted.admission, admitted.body))
    }

    async fn authorize(
        &mut self,
        admission: Admission,
        operation: Operation,
        key_id: &str,
    ) -> Result<Grant, Refusal> {
        let operation = match operation {
            _ if self.is("ask-for-decrypt") => types::Operation::Decrypt,
            _ if self.is("ask-for-metadata") => types::Operation::GetKeyMetadata,
            Operation::GetKeyMetadata => types::Operation::GetKeyMetadata,
            Operation::Encrypt => types::Operation::Encrypt,
            Operation::Decrypt => types::Operation::Decrypt,
        };
        let key_id = if self.is("other-key") { "other" } else { key_id };
        called_at(&self.late, || Admission::authorize(admission, operation, key_id))
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
        let mut input = types::EncryptInput {
            plaintext: inputs.plaintext.to_vec(),
            aad: inputs.aad.clone(),
            with_cdiv: inputs.with_cdiv,
        };
        match self.late.as_str() {
            "other-plaintext" => input.plaintext[0] ^= 1,
            "shorter-plaintext" => input.plaintext.truncate(1),
            "other-aad" => input.aad.push(0),
            "other-cdiv" => input.with_cdiv = !input.with_cdiv,
            "vast-plaintext" => input.plaintext = vec![7; 1024 * 1024],
            "decrypt-with-it" => {
                let input = types::DecryptInput {
                    ciphertext: input.plaintext,
                    iv: vec![0; 12],
                    tag: vec![0; 16],
                    aad: input.aad,
                    metadata: Vec::new(),
                };
                self.plaintext = Grant::decrypt(grant, &input).map_err(refusal)?;
                return Err(Refusal::new(ErrorName::Validation, "a grant for Encrypt decrypted"));
            }
            _ => {}
        }
        let handle = grant.handle();
        let encrypted = called_at(&self.late, || Grant::encrypt(grant, &input))?;
        if self.is("encrypt-twice") {
            // SAFETY: none: the handle was consumed by the call before; the host is to find out.
            let _ = Grant::encrypt(unsafe { Grant::from_handle(handle) }, &input);
        }
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
        let mut input = types::DecryptInput {
            ciphertext: inputs.ciphertext.clone(),
            iv: inputs.iv.clone(),
            tag: inputs.tag.clone(),
            aad: inputs.aad.clone(),
            metadata: inputs.metadata.clone(),
        };
        match self.late.as_str() {
            "other-ciphertext" => input.ciphertext[0] ^= 1,
            "other-iv" => input.iv[0] ^= 1,
            "other-tag" => input.tag[0] ^= 1,
            "other-aad" => input.aad.push(0),
            "other-metadata" => input.metadata.clear(),
            _ => {}
        }
        let handle = grant.handle();
        self.plaintext = Grant::decrypt(grant, &input).map_err(refusal)?;
        if self.is("decrypt-twice") {
            // SAFETY: none: the handle was consumed by the call before; the host is to find out.
            let _ = Grant::decrypt(unsafe { Grant::from_handle(handle) }, &input);
        }
        Ok(self.plaintext.clone())
    }
}

fn refusal(refusal: types::Refusal) -> Refusal {
    let name = ErrorName::ALL.into_iter().find(|name| {
        // Both list the specification's errors; their names differ in the ending only.
        let ours = format!("{name:?}");
        let theirs = format!("{:?}", refusal.name);
        theirs.ends_with(&ours)
    });
    Refusal::with(name.unwrap_or(ErrorName::Internal), refusal.message)
}

export!(Component);
