//! Loads policies with caches of compiled code and snapshots.

use std::io;
use std::sync::{Arc, OnceLock};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::artefact::source::Source;
use crate::decide::component::ComponentPolicy;
use crate::decide::limits::{Awake, Limits, Sandbox};
use crate::decide::load_error::LoadError;
use crate::make::load::Load;
use holdfast_sandbox::{CompiledCache, Ticker};

/// What policies are loaded with.
#[derive(Clone)]
pub struct Loader {
    cache: Option<CompiledCache>,
    ticker: Ticker,
}

impl Loader {
    /// Keeps what it compiles in `cache`.
    pub fn new(cache: CompiledCache, ticker: Ticker) -> Loader {
        Loader { cache: Some(cache), ticker }
    }

    /// Outside of a host: without a cache it keeps nothing. What it loads is out of time when it should be for as long as the
    /// process lives.
    pub fn alone(cache: Option<CompiledCache>) -> io::Result<Loader> {
        static TICKER: OnceLock<Ticker> = OnceLock::new();
        let ticker = match TICKER.get() {
            Some(ticker) => ticker.clone(),
            None => {
                let started = Ticker::start_sleepless()?;
                TICKER.get_or_init(|| started).clone()
            }
        };
        Ok(Loader { cache, ticker })
    }

    /// Loads a component with its document.
    pub async fn load(
        &self,
        component: &[u8],
        document: &[Source],
        limits: Limits,
    ) -> Result<ComponentPolicy, LoadError> {
        self.prepare(component, document, limits, async |load: Load<'_>| load.policy().await).await
    }

    /// Gives `act` all that is needed to load a component with its document.
    pub async fn prepare<T>(
        &self,
        component: &[u8],
        document: &[Source],
        limits: Limits,
        act: impl AsyncFnOnce(Load<'_>) -> T,
    ) -> T {
        let compile = |engine: &Engine, bytes: &[u8]| match &self.cache {
            Some(cache) => cache.load(engine, "the policy component", bytes).map_err(wasmtime::Error::from),
            None => Component::from_binary(engine, bytes),
        };
        let watch = |engine: &Engine| {
            self.ticker.add(engine);
            self.ticker.awake();
            let ticker = self.ticker.clone();
            Arc::new(move || ticker.awake()) as Awake
        };
        act(Load {
            component,
            document,
            limits,
            snapshots: self.cache.as_ref().map(CompiledCache::folder),
            sandbox: Sandbox { compile: &compile, watch: &watch },
        })
        .await
    }
}
