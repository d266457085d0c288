//! What one instance has of the host: WASI without files, network or environment, and Spin's variables.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use wasmtime::component::{ComponentType, Linker, Lower, ResourceTable};
use wasmtime::{Engine, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// Spin's variables by their names.
pub type Variables = Arc<HashMap<String, String>>;

pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoRequests,
    table: ResourceTable,
    variables: Variables,
}

impl State {
    pub fn new(variables: Variables) -> State {
        let wasi = WasiCtxBuilder::new().inherit_stderr().build();
        State { wasi, http: WasiHttpCtx::new(), hooks: NoRequests, table: ResourceTable::new(), variables }
    }

    pub fn view(&mut self) -> WasiHttpCtxView<'_> {
        self.http()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// As Spin does without `allowed_outbound_hosts`.
struct NoRequests;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::ConnectionRefused) })
    }
}

/// `spin:variables/variables.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum VariableError {
    #[component(name = "invalid-name")]
    #[expect(dead_code, reason = "the contract has it")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    #[expect(dead_code, reason = "the contract has it")]
    Provider(String),
    #[component(name = "other")]
    #[expect(dead_code, reason = "the contract has it")]
    Other(String),
}

pub fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    let mut variables = linker.instance("spin:variables/variables@3.0.0")?;
    variables.func_wrap_concurrent("get", |accessor, (name,): (String,)| {
        let value = accessor.with(|mut access| access.get().variables.get(&name).cloned());
        let value = value.ok_or_else(|| VariableError::Undefined(format!("no variable {name}")));
        Box::pin(async move { Ok((value,)) })
    })?;
    Ok(linker)
}
