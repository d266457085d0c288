//! The host's side of `wit/policy`.

#[allow(missing_docs, clippy::all, reason = "generated; wit/policy/policy.wit has the docs")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/policy",
        world: "policy-engine",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(crate) use generated::holdfast::policy::types;
pub(crate) use generated::{PolicyEngine, PolicyEnginePre};
