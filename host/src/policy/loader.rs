//! Loads policies with the host's caches of compiled code and snapshots.

use super::{ComponentPolicy, Limits, Load, LoadError, Sandbox, Source};
use crate::sandbox::{CompiledCache, Ticker};

/// What every policy of a host is loaded with.
#[derive(Clone)]
pub struct Loader {
    cache: CompiledCache,
    ticker: Ticker,
}

impl Loader {
    /// Keeps what it compiles in `cache`.
    pub fn new(cache: CompiledCache, ticker: Ticker) -> Loader {
        Loader { cache, ticker }
    }

    /// Loads a component with its document; `cache_bytes` are for its decisions.
    pub async fn load(
        &self,
        component: &[u8],
        document: &[Source],
        cache_bytes: usize,
    ) -> Result<ComponentPolicy, LoadError> {
        let compile = |engine: &wasmtime::Engine, bytes: &[u8]| {
            self.cache.load(engine, "the policy component", bytes).map_err(wasmtime::Error::from)
        };
        let watch = |engine: &wasmtime::Engine| {
            self.ticker.add(engine);
            self.ticker.awake();
        };
        let load = Load {
            component,
            document,
            limits: Limits { cache: cache_bytes, ..Limits::default() },
            snapshots: Some(self.cache.folder()),
            sandbox: Sandbox { compile: &compile, watch: &watch },
        };
        ComponentPolicy::load(load).await
    }
}
