//! The host's side of `wit/policy`.

use super::guest::{self, Run};
use super::load::{WASI_MEMORY, prepare};
use wasmtime::Engine;
use wasmtime::component::Component;

#[allow(missing_docs, clippy::all, reason = "generated; wit/policy/policy.wit has the docs")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit/policy",
        world: "policy-engine",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Whether the component is of the world `policy-engine` and imports nothing but what a policy is given: an instance
/// shows that.
pub async fn fits(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    let pre = prepare(engine, component)?;
    let limits = super::Limits::default();
    let mut store = guest::store(engine, Run::Loading, limits.loading_time, WASI_MEMORY, limits.output);
    store.set_fuel(crate::sandbox::TRIAL_FUEL)?;
    pre.instantiate_async(&mut store).await.map(drop)
}

pub(super) use generated::holdfast::policy::types;
pub(super) use generated::{PolicyEngine, PolicyEnginePre};
