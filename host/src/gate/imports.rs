//! `wit/gate` for the proxy component: resources that stand for the gate's own types.

use super::{Admission, Grant, Request, Trace};
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::query::Operation;
use holdfast_gate::{ErrorName, Refusal, reply};
use holdfast_sandbox::MemoryLimit;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};

/// Generated from the contracts.
pub mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../wit/gate", "../wit/proxy"],
        world: "holdfast:proxy/proxy",
        imports: {
            "holdfast:gate/types.[static]request.admit": async | trappable,
            "holdfast:gate/types.[static]admission.authorize": async | trappable,
            "holdfast:gate/types.[static]grant.get-key-metadata": async | trappable,
            "holdfast:gate/types.[static]grant.encrypt": async | trappable,
            "holdfast:gate/types.[static]grant.decrypt": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "holdfast:gate/types.request": crate::gate::Request,
            "holdfast:gate/types.admission": crate::gate::Admission,
            "holdfast:gate/types.grant": crate::gate::Grant,
        },
    });
}

use bindings::holdfast::gate::types as wit;

/// What a proxy instance works on: one request, and what is known of it.
pub struct State {
    table: ResourceTable,
    memory: MemoryLimit,
    /// Grows as the request goes through the gate.
    pub trace: Trace,
}

impl AsMut<MemoryLimit> for State {
    fn as_mut(&mut self) -> &mut MemoryLimit {
        &mut self.memory
    }
}

impl State {
    /// For one request.
    pub fn new(trace: Trace, memory: MemoryLimit) -> State {
        State { table: ResourceTable::new(), memory, trace }
    }

    /// For an instance that gets no request, with so many bytes of memory.
    pub fn of_nothing(memory: usize) -> State {
        State::new(Trace::new(0, std::time::Instant::now()), MemoryLimit::new(memory))
    }

    /// Whether the instance's memory reached its limit.
    pub fn memory_reached(&self) -> bool {
        self.memory.reached()
    }

    /// A handle for the request, to be handed to the component.
    pub fn push_request(&mut self, request: Request) -> wasmtime::Result<Resource<Request>> {
        Ok(self.table.push(request)?)
    }

    /// Notes a refusal for the audit record, and gives it the contract's form.
    fn refused<T>(&mut self, refusal: Refusal) -> Result<T, wit::Refusal> {
        self.trace.known.note(&refusal);
        Err(wit::Refusal { name: refusal.name.into(), message: refusal.message.into_owned() })
    }
}

/// Links the gate for components of the world `proxy`.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl wit::Host for State {}

impl wit::HostRequest for State {
    async fn admit(
        &mut self,
        request: Resource<Request>,
    ) -> wasmtime::Result<Result<wit::Admitted, wit::Refusal>> {
        let request = self.table.delete(request)?;
        self.trace.in_gate = true;
        let result = request.admit(&mut self.trace).await;
        self.trace.in_gate = false;
        match result {
            Ok((admission, body)) => Ok(Ok(wit::Admitted { admission: self.table.push(admission)?, body })),
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    fn drop(&mut self, request: Resource<Request>) -> wasmtime::Result<()> {
        self.table.delete(request)?;
        Ok(())
    }
}

impl wit::HostAdmission for State {
    async fn authorize(
        &mut self,
        admission: Resource<Admission>,
        operation: wit::Operation,
        key_id: String,
    ) -> wasmtime::Result<Result<Resource<Grant>, wit::Refusal>> {
        let admission = self.table.delete(admission)?;
        self.trace.in_gate = true;
        let result = admission.authorize(operation.into(), &key_id, &mut self.trace).await;
        self.trace.in_gate = false;
        match result {
            Ok(grant) => Ok(Ok(self.table.push(grant)?)),
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    fn health(
        &mut self,
        admission: Resource<Admission>,
    ) -> wasmtime::Result<Result<wit::Health, wit::Refusal>> {
        let admission = self.table.delete(admission)?;
        match admission.health(&mut self.trace) {
            Ok(health) => Ok(Ok(health.into())),
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    fn drop(&mut self, admission: Resource<Admission>) -> wasmtime::Result<()> {
        self.table.delete(admission)?;
        Ok(())
    }
}

impl wit::HostGrant for State {
    async fn get_key_metadata(
        &mut self,
        grant: Resource<Grant>,
    ) -> wasmtime::Result<Result<wit::KeyMetadata, wit::Refusal>> {
        let grant = self.table.delete(grant)?;
        self.trace.in_gate = true;
        let result = grant.key_metadata(&mut self.trace).await;
        self.trace.in_gate = false;
        match result {
            Ok(m) => {
                Ok(Ok(wit::KeyMetadata { key_spec: m.key_spec, key_usage: m.key_usage, enabled: m.enabled }))
            }
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    async fn encrypt(
        &mut self,
        grant: Resource<Grant>,
        input: wit::EncryptInput,
    ) -> wasmtime::Result<Result<wit::Encrypted, wit::Refusal>> {
        let grant = self.table.delete(grant)?;
        let claimed =
            EncryptInputs { plaintext: input.plaintext.into(), aad: input.aad, with_cdiv: input.with_cdiv };
        self.trace.in_gate = true;
        let result = grant.encrypt(&claimed, &mut self.trace).await;
        self.trace.in_gate = false;
        match result {
            Ok(e) => Ok(Ok(wit::Encrypted {
                ciphertext: e.ciphertext,
                iv: e.iv,
                tag: e.tag,
                metadata: e.metadata,
                cdiv: e.cdiv.map(Vec::from),
            })),
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    async fn decrypt(
        &mut self,
        grant: Resource<Grant>,
        input: wit::DecryptInput,
    ) -> wasmtime::Result<Result<Vec<u8>, wit::Refusal>> {
        let grant = self.table.delete(grant)?;
        let claimed = DecryptInputs {
            ciphertext: input.ciphertext,
            iv: input.iv,
            tag: input.tag,
            aad: input.aad,
            metadata: input.metadata,
        };
        self.trace.in_gate = true;
        let result = grant.decrypt(&claimed, &mut self.trace).await;
        self.trace.in_gate = false;
        match result {
            // Lowered into the guest from here; the vector is the one copy that isn't wiped, and is freed at once.
            Ok(plaintext) => Ok(Ok(plaintext.to_vec())),
            Err(refusal) => Ok(self.refused(refusal)),
        }
    }

    fn drop(&mut self, grant: Resource<Grant>) -> wasmtime::Result<()> {
        self.table.delete(grant)?;
        Ok(())
    }
}

impl From<wit::Operation> for Operation {
    fn from(operation: wit::Operation) -> Operation {
        match operation {
            wit::Operation::GetKeyMetadata => Operation::GetKeyMetadata,
            wit::Operation::Encrypt => Operation::Encrypt,
            wit::Operation::Decrypt => Operation::Decrypt,
        }
    }
}

impl From<reply::Health> for wit::Health {
    fn from(health: reply::Health) -> wit::Health {
        let fleet = health.fleet.into_iter().map(|manager| wit::KeyManager {
            id: manager.id,
            model: manager.model,
            status: match manager.status {
                reply::HealthStatus::Active => wit::HealthStatus::Active,
                reply::HealthStatus::Degraded => wit::HealthStatus::Degraded,
                reply::HealthStatus::Unavailable => wit::HealthStatus::Unavailable,
            },
        });
        wit::Health {
            fleet_size: health.fleet_size,
            vendor: health.vendor,
            model: health.model,
            ekm_vendor: health.ekm_vendor,
            fleet: fleet.collect(),
        }
    }
}

impl From<ErrorName> for wit::ErrorName {
    fn from(name: ErrorName) -> wit::ErrorName {
        match name {
            ErrorName::Validation => wit::ErrorName::Validation,
            ErrorName::InvalidState => wit::ErrorName::InvalidState,
            ErrorName::InvalidCiphertext => wit::ErrorName::InvalidCiphertext,
            ErrorName::InvalidKeyUsage => wit::ErrorName::InvalidKeyUsage,
            ErrorName::AuthenticationFailed => wit::ErrorName::AuthenticationFailed,
            ErrorName::AccessDenied => wit::ErrorName::AccessDenied,
            ErrorName::KeyNotFound => wit::ErrorName::KeyNotFound,
            ErrorName::InvalidUriPath => wit::ErrorName::InvalidUriPath,
            ErrorName::Throttling => wit::ErrorName::Throttling,
            ErrorName::Internal => wit::ErrorName::Internal,
            ErrorName::UnsupportedOperation => wit::ErrorName::UnsupportedOperation,
            ErrorName::DependencyTimeout => wit::ErrorName::DependencyTimeout,
        }
    }
}
