//! The proxy component: a fresh instance answers one request, and its answer is checked before it may leave.

#[cfg(feature = "native-pipeline")]
mod native;

use crate::gate::imports::{self, State, bindings};
use crate::gate::{Request, Trace};
use crate::panics::{Panicked, caught};
use bytes::Bytes;
use holdfast_gate::reply::{self, Reply};
use holdfast_gate::{ErrorName, Refusal};
use holdfast_sandbox::{
    CompiledCache, FailureCounts, LoadError, Sandbox, SandboxFailure, Size, TRIAL_TIME, Ticker, digest, trial,
};
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use zeroize::Zeroizing;

/// The component that speaks the protocol.
pub struct Proxy {
    sandbox: Sandbox,
    pre: bindings::ProxyPre<State>,
    digest: String,
    /// How often it failed, by kind.
    pub failures: FailureCounts,
}

/// An answer that may leave, and what the audit record needs of it.
pub struct Answer {
    /// 200, or the status of an error of the specification.
    pub status: u16,
    /// JSON. That of a success is wiped when its last user drops it.
    pub body: Bytes,
    /// Of an error.
    pub error: Option<ErrorName>,
}

impl Answer {
    /// The answer that a refusal is.
    pub fn refusal(refusal: &Refusal) -> Answer {
        Answer { status: refusal.name.status(), body: refusal.to_json().into(), error: Some(refusal.name) }
    }

    /// For a request that panicked the host.
    pub fn of_panic() -> Answer {
        tracing::error!("a request panicked the host; it is refused");
        Answer::refusal(&Refusal::new(
            ErrorName::Internal,
            "the request could not be processed; see the proxy's log",
        ))
    }
}

impl Proxy {
    /// What one instance may use: the body (64 KiB by default), its parts, and the answer.
    pub const SIZE: Size =
        Size { memory: 4 * 1024 * 1024, stack: 256 * 1024, copied: 512 * 1024, instances: 1024 };

    /// Whether the component is of the world `proxy` and imports nothing but the gate: an instance shows that.
    pub async fn fits(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
        let mut linker = Linker::new(engine);
        imports::link(&mut linker)?;
        let pre = bindings::ProxyPre::new(linker.instantiate_pre(component)?)?;
        let mut store = trial(engine, State::of_nothing(Self::SIZE.memory))?;
        pre.instantiate_async(&mut store).await.map(drop)
    }

    /// Loads the component: it must be of the world `proxy` and import nothing but the gate.
    pub async fn load(bytes: &[u8], cache: &CompiledCache, ticker: &Ticker) -> Result<Proxy, LoadError> {
        let unusable = |error: wasmtime::Error| LoadError::Component {
            what: "the proxy component".into(),
            reason: format!("{error:#}"),
        };
        let sandbox = Sandbox::new(Self::SIZE, ticker).map_err(unusable)?;
        let component = cache.load(sandbox.engine(), "the proxy component", bytes)?;
        let mut linker = Linker::new(sandbox.engine());
        imports::link(&mut linker).map_err(unusable)?;
        let pre = linker.instantiate_pre(&component).map_err(unusable)?;
        let pre = bindings::ProxyPre::new(pre).map_err(unusable)?;
        // An instance shows that its functions have the contract's types; better now than with the first request.
        let mut store = sandbox.store(State::of_nothing(Self::SIZE.memory));
        let made = tokio::time::timeout(TRIAL_TIME, pre.instantiate_async(&mut store)).await;
        made.map_err(|_| unusable(wasmtime::Error::msg("it takes too long to start")))?.map_err(unusable)?;
        drop(store);
        Ok(Proxy { sandbox, pre, digest: digest(bytes), failures: FailureCounts::default() })
    }

    /// The component's digest, lower-case hexadecimal SHA-256.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Answers a request before `deadline`. `path` is what follows the key store's URI path.
    pub async fn answer(
        &self,
        method: &str,
        path: &str,
        request: Request,
        trace: Trace,
        deadline: Instant,
    ) -> (Answer, Trace) {
        #[cfg(feature = "native-pipeline")]
        return self.answer_natively(method, path, request, trace, deadline).await;
        #[cfg(not(feature = "native-pipeline"))]
        self.answer_sandboxed(method, path, request, trace, deadline).await
    }

    #[cfg_attr(feature = "native-pipeline", expect(dead_code, reason = "the other pipeline is measured"))]
    async fn answer_sandboxed(
        &self,
        method: &str,
        path: &str,
        request: Request,
        trace: Trace,
        deadline: Instant,
    ) -> (Answer, Trace) {
        let mut store = self.sandbox.store(State::new(trace, self.sandbox.memory_limit()));
        let called = async {
            let request = store.data_mut().push_request(request)?;
            let instance = self.pre.instantiate_async(&mut store).await?;
            instance.holdfast_proxy_handler().call_handle(&mut store, method, path, request).await
        };
        // Caught here, so that what the gate had noted by then is recorded: the key may have been used.
        let called = tokio::time::timeout_at(deadline, caught(called)).await;
        let memory_reached = store.data().memory_reached();
        let trace = store.into_data().trace;
        let answer = match called {
            Ok(Ok(Ok(response))) => {
                let checked = async { self.checked(response.status, response.body, &trace) };
                caught(checked).await.unwrap_or_else(|Panicked| Answer::of_panic())
            }
            Ok(Err(Panicked)) => Answer::of_panic(),
            Ok(Ok(Err(error))) => {
                tracing::debug!(error = format!("{error:#}"), "proxy component");
                self.failed(SandboxFailure::of(&error, memory_reached))
            }
            Err(_) if trace.in_gate => Answer::refusal(&Refusal::new(
                ErrorName::DependencyTimeout,
                "the request took longer than this proxy's budget; its body or the key manager was slow",
            )),
            Err(_) => self.failed(SandboxFailure::Time),
        };
        (answer, trace)
    }

    fn checked(&self, status: u16, body: String, trace: &Trace) -> Answer {
        if trace.known.inputs_differed {
            self.failures.count(SandboxFailure::Inputs);
        }
        let body = Zeroizing::new(body);
        match reply::check(status, &body, &trace.known.outcome, trace.known.words()) {
            Ok(Reply::Success(body)) => Answer { status: 200, body: Bytes::from_owner(body), error: None },
            Ok(Reply::Error(status, refusal)) => Answer { status, ..Answer::refusal(&refusal) },
            Err(fault) => {
                tracing::error!(%fault, "the proxy component's answer");
                self.failed(SandboxFailure::Answer)
            }
        }
    }

    fn failed(&self, failure: SandboxFailure) -> Answer {
        self.failures.count(failure);
        tracing::error!(component = "proxy", digest = self.digest, %failure, "the component failed; the request is refused");
        Answer::refusal(&match failure {
            SandboxFailure::Busy => {
                Refusal::new(ErrorName::Throttling, "too many requests at once; try again")
            }
            _ => Refusal::new(ErrorName::Internal, "the request could not be processed; see the proxy's log"),
        })
    }
}
