//! The host's side of `wit/policy`.

use crate::sandbox::{MemoryLimit, trial};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

#[allow(missing_docs, clippy::all, reason = "generated; wit/policy/policy.wit has the docs")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit/policy",
        world: "policy-engine",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Whether the component is of the world `policy-engine` and imports nothing: an instance shows that.
pub async fn fits(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    let pre = Linker::new(engine).instantiate_pre(component)?;
    let mut store = trial(engine, MemoryLimit::new(super::Limits::default().memory))?;
    PolicyEnginePre::new(pre)?.instantiate_async(&mut store).await.map(drop)
}

pub(super) use generated::holdfast::policy::types;
pub(super) use generated::{PolicyEngine, PolicyEnginePre};
