//! A component's state after it has read its document, as a component: instances of it start out configured.

use std::collections::HashMap;

use crate::make::strip;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, WasmList};
use wasmtime::{Engine, Store};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

/// The instance that `Wizer::instrument_component` adds to a component's exports, one function a memory or global.
const ACCESS: &str = "wasmtime:wizer/access";

/// Adds to a component what it takes to read its state from outside.
pub(crate) fn instrument(component: &[u8]) -> wasmtime::Result<(ComponentContext<'_>, Vec<u8>)> {
    // The default name of the initialization function is one that no contract of ours has, so nothing is removed.
    Wizer::new().instrument_component(component)
}

/// The component with the state that `instance` has now, and without what only configuring needs.
pub(crate) async fn take<T: Send + 'static>(
    context: &ComponentContext<'_>,
    engine: &Engine,
    instrumented: &Component,
    instance: &Instance,
    store: &mut Store<T>,
) -> wasmtime::Result<Vec<u8>> {
    let mut state = read_state(engine, instrumented, instance, store).await?;
    let snapshot = Wizer::new().snapshot_component(context, &mut state).await?;
    Ok(strip::configure(&snapshot)?)
}

/// One memory or global, as its function returned it.
enum Value {
    Memory(Vec<u8>),
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
}

/// All state of an instance. Read in advance, because calls into the guest can fail and wizer's trait has no errors.
struct State(HashMap<String, Value>);

async fn read_state<T: Send + 'static>(
    engine: &Engine,
    component: &Component,
    instance: &Instance,
    store: &mut Store<T>,
) -> wasmtime::Result<State> {
    let missing = || wasmtime::format_err!("the instrumented component doesn't export {ACCESS}");
    let ty = component.component_type();
    let ComponentItem::ComponentInstance(access) = ty.get_export(engine, ACCESS).ok_or_else(missing)?.ty
    else {
        return Err(missing());
    };
    let (_, index) = instance.get_export(&mut *store, None, ACCESS).ok_or_else(missing)?;
    let mut values = HashMap::new();
    for (name, item) in access.exports(engine) {
        let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
        let (_, function) = instance.get_export(&mut *store, Some(&index), name).ok_or_else(missing)?;
        let function = instance.get_func(&mut *store, function).ok_or_else(missing)?;
        use wasmtime::component::Type;
        macro_rules! call {
            ($result:ty) => {{
                let typed = function.typed::<(), ($result,)>(&*store)?;
                typed.call_async(&mut *store, ()).await?.0
            }};
        }
        let value = match ty.results().next() {
            Some(Type::S32) => Value::I32(call!(i32)),
            Some(Type::S64) => Value::I64(call!(i64)),
            Some(Type::Float32) => Value::F32(call!(f32).to_bits()),
            Some(Type::Float64) => Value::F64(call!(f64).to_bits()),
            Some(Type::List(_)) => {
                let list = call!(WasmList<u8>);
                Value::Memory(list.as_le_slice(&*store).to_vec())
            }
            other => wasmtime::bail!("{ACCESS} has {name} of the unexpected type {other:?}"),
        };
        values.insert(name.to_owned(), value);
    }
    Ok(State(values))
}

/// Answers from what was read. Wizer asks for exactly what it instrumented, by the same names and types.
impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(&mut self, _: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        if let Some(Value::Memory(bytes)) = self.0.get(name) {
            contents(bytes);
        }
    }

    async fn call_func_ret_s32(&mut self, _: &str, name: &str) -> i32 {
        if let Some(Value::I32(value)) = self.0.get(name) { *value } else { 0 }
    }

    async fn call_func_ret_s64(&mut self, _: &str, name: &str) -> i64 {
        if let Some(Value::I64(value)) = self.0.get(name) { *value } else { 0 }
    }

    async fn call_func_ret_f32(&mut self, _: &str, name: &str) -> u32 {
        if let Some(Value::F32(value)) = self.0.get(name) { *value } else { 0 }
    }

    async fn call_func_ret_f64(&mut self, _: &str, name: &str) -> u64 {
        if let Some(Value::F64(value)) = self.0.get(name) { *value } else { 0 }
    }
}
