//! The sigv4 component: reads the claim out of a head, in a fresh instance for every request.

use holdfast_gate::sigv4::{AuthenticationFault, Claim};
use holdfast_gate::{ErrorName, Refusal};
use holdfast_sandbox::{
    CompiledCache, FailureCounts, LoadError, MemoryLimit, Sandbox, SandboxFailure, Size, TRIAL_TIME, Ticker,
    digest, trial,
};
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit/authn",
        world: "authenticator",
        exports: { default: async },
    });
}

use bindings::exports::holdfast::authn::sigv4 as wit;

/// The component that is given a head and gives back a claim.
pub struct Authenticator {
    sandbox: Sandbox,
    pre: bindings::AuthenticatorPre<State>,
    digest: String,
    /// How often it failed, by kind.
    pub failures: FailureCounts,
    time: Duration,
}

struct State(MemoryLimit);

impl AsMut<MemoryLimit> for State {
    fn as_mut(&mut self) -> &mut MemoryLimit {
        &mut self.0
    }
}

impl Authenticator {
    /// What one instance may use. A head has at most 64 KiB (`header_bytes`), a claim is a small part of it.
    pub const SIZE: Size = Size { memory: 1024 * 1024, stack: 128 * 1024, copied: 64 * 1024, instances: 512 };

    /// Whether the component is of the world `authenticator`: an instance shows that.
    pub async fn fits(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
        let pre = Linker::new(engine).instantiate_pre(component)?;
        let mut store = trial(engine, State(MemoryLimit::new(Self::SIZE.memory)))?;
        bindings::AuthenticatorPre::new(pre)?.instantiate_async(&mut store).await.map(drop)
    }

    /// Loads the component: it must be of the world `authenticator` and import nothing.
    pub async fn load(
        bytes: &[u8],
        cache: &CompiledCache,
        ticker: &Ticker,
        time: Duration,
    ) -> Result<Authenticator, LoadError> {
        let unusable = |error: wasmtime::Error| LoadError::Component {
            what: "the sigv4 component".into(),
            reason: format!("{error:#}"),
        };
        let sandbox = Sandbox::new(Self::SIZE, ticker).map_err(unusable)?;
        let component: Component = cache.load(sandbox.engine(), "the sigv4 component", bytes)?;
        let pre = Linker::new(sandbox.engine()).instantiate_pre(&component).map_err(unusable)?;
        let pre = bindings::AuthenticatorPre::new(pre).map_err(unusable)?;
        // An instance shows that its functions have the contract's types; better now than with the first request.
        let mut store = sandbox.store(State(sandbox.memory_limit()));
        let made = tokio::time::timeout(TRIAL_TIME, pre.instantiate_async(&mut store)).await;
        made.map_err(|_| unusable(wasmtime::Error::msg("it takes too long to start")))?.map_err(unusable)?;
        drop(store);
        Ok(Authenticator { sandbox, pre, digest: digest(bytes), failures: FailureCounts::default(), time })
    }

    /// The component's digest, lower-case hexadecimal SHA-256.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the head's text claims. A component that fails refuses the request: 500, as the fault is ours.
    pub(super) async fn claim(&self, head: &[u8]) -> Result<Result<Claim, AuthenticationFault>, Refusal> {
        #[cfg(feature = "native-pipeline")]
        return Ok(native::claim(head));
        #[cfg(not(feature = "native-pipeline"))]
        self.claim_sandboxed(head).await
    }

    #[cfg_attr(feature = "native-pipeline", expect(dead_code, reason = "the other pipeline is measured"))]
    async fn claim_sandboxed(&self, head: &[u8]) -> Result<Result<Claim, AuthenticationFault>, Refusal> {
        match tokio::time::timeout(self.time, self.run(head)).await {
            Ok(Ok(claim)) => Ok(claim),
            Ok(Err(failure)) => Err(self.failed(failure)),
            Err(_) => Err(self.failed(SandboxFailure::Time)),
        }
    }

    async fn run(&self, head: &[u8]) -> Result<Result<Claim, AuthenticationFault>, SandboxFailure> {
        let mut store = self.sandbox.store(State(self.sandbox.memory_limit()));
        let called = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            instance.holdfast_authn_sigv4().call_read_claim(&mut store, head).await
        };
        match called.await {
            Ok(Ok(claim)) => Ok(Ok(Claim {
                access_key_id: claim.access_key_id,
                date: claim.date,
                region: claim.region,
                service: claim.service,
                signed_headers: claim.signed_headers,
                signature: claim.signature,
            })),
            Ok(Err(refusal)) => Ok(Err(match refusal {
                wit::Refusal::Repeated => AuthenticationFault::HeaderCount,
                wit::Refusal::Missing | wit::Refusal::Scheme | wit::Refusal::Malformed => {
                    AuthenticationFault::Claim
                }
            })),
            Err(error) => {
                let failure = SandboxFailure::of(&error, store.data().0.reached());
                tracing::debug!(%failure, %error, "sigv4 component");
                Err(failure)
            }
        }
    }

    fn failed(&self, failure: SandboxFailure) -> Refusal {
        self.failures.count(failure);
        tracing::error!(component = "sigv4", digest = self.digest, %failure, "the component failed; the request is refused");
        if failure == SandboxFailure::Busy {
            return Refusal::new(ErrorName::Throttling, "too many requests at once; try again");
        }
        Refusal::new(ErrorName::Internal, "authentication failed to run; see the proxy's log")
    }
}

#[cfg(feature = "native-pipeline")]
mod native {
    use holdfast_gate::sigv4::{AuthenticationFault, Claim};

    pub fn claim(head: &[u8]) -> Result<Claim, AuthenticationFault> {
        let claim = holdfast_sigv4::claim::read(head).map_err(|_| AuthenticationFault::Claim)?;
        Ok(Claim {
            access_key_id: claim.access_key_id.into(),
            date: claim.date.into(),
            region: claim.region.into(),
            service: claim.service.into(),
            signed_headers: claim.signed_headers.into(),
            signature: claim.signature.into(),
        })
    }
}
