//! What a component must be to decide: of the contract's world, importing nothing but WASI with everything denied.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use crate::decide::bindings::PolicyEnginePre;
use crate::decide::guest::{self, Bounds, Run};
use crate::decide::limits::Limits;
use crate::decide::load_error::LoadError;
use crate::decide::wasi;

/// Bytes of linear memory of a component with WASI: an interpreter and its libraries.
pub(crate) const WASI_MEMORY: usize = 256 * 1024 * 1024;

/// Checks the component's type: exactly the contract's exports are used, and there is nothing to import but WASI, which
/// it gets with everything denied.
pub(crate) fn prepare(engine: &Engine, code: &Component) -> Result<PolicyEnginePre<Bounds>, LoadError> {
    let (wasi, imports): (Vec<String>, Vec<String>) =
        imports(engine, code).into_iter().partition(|import| wasi::is_given(import));
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports));
    }
    let mut linker = Linker::new(engine);
    if !wasi.is_empty() {
        wasi::add_to_linker(&mut linker, engine, code).map_err(LoadError::Engine)?;
    }
    linker.instantiate_pre(code).and_then(PolicyEnginePre::new).map_err(LoadError::World)
}

/// All imports but those of plain types, which ask for nothing.
fn imports(engine: &Engine, code: &Component) -> Vec<String> {
    let plain = |item: &ComponentItem| match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
        }
        _ => false,
    };
    let ty = code.component_type();
    ty.imports(engine).filter(|(_, import)| !plain(&import.ty)).map(|(name, _)| name.to_owned()).collect()
}

/// Whether the component is of the world `policy-engine` and imports nothing but what a policy is given: an instance
/// shows that.
pub async fn fits(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    let pre = prepare(engine, component)?;
    let limits = Limits::default();
    let mut store = guest::store(engine, Run::Loading, limits.loading_time, WASI_MEMORY, limits.output);
    store.set_fuel(holdfast_sandbox::TRIAL_FUEL)?;
    pre.instantiate_async(&mut store).await.map(drop)
}
