//! Puts sigv4, gate, proxy and front together into the component that Spin runs. Spin (4.1) doesn't resolve the dependencies
//! of dependencies, so only the policy is left to its manifest.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

const SIGV4: &str = "holdfast:authn/sigv4@0.1.0";
const POLICY: &str = "holdfast:policy/policy@0.1.0";
const GATE: &str = "holdfast:gate/types@0.1.0";
const INTAKE: &str = "holdfast:gate/intake@0.1.0";
const PROXY: &str = "holdfast:proxy/handler@0.1.0";
const HTTP: &str = "wasi:http/handler@0.3.0";

/// Components, whose bytes go in unchanged.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Exports `holdfast:authn`.
    pub sigv4: &'a [u8],
    /// Exports `holdfast:gate`.
    pub gate: &'a [u8],
    /// Exports `holdfast:proxy`.
    pub proxy: &'a [u8],
    /// Exports `wasi:http`.
    pub front: &'a [u8],
    /// Exports `holdfast:policy`; `None` leaves it to be imported.
    pub policy: Option<&'a [u8]>,
}

/// The components don't go together.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ComposeError {
    what: String,
    reason: String,
}

/// One component that exports `wasi:http/handler`.
pub fn compose(parts: &Parts<'_>) -> Result<Vec<u8>, ComposeError> {
    let mut graph = Graph(CompositionGraph::new());
    let sigv4 = graph.instance("sigv4", parts.sigv4)?;
    let gate = graph.instance("gate", parts.gate)?;
    let proxy = graph.instance("proxy", parts.proxy)?;
    let front = graph.instance("front", parts.front)?;
    graph.connect(sigv4, SIGV4, &[gate])?;
    if let Some(policy) = parts.policy {
        let policy = graph.instance("policy", policy)?;
        graph.connect(policy, POLICY, &[gate])?;
    }
    graph.connect(gate, GATE, &[proxy, front])?;
    graph.connect(gate, INTAKE, &[front])?;
    graph.connect(proxy, PROXY, &[front])?;
    graph.finish(front, HTTP)
}

/// The names that a component imports.
pub fn imports(component: &[u8]) -> Result<Vec<String>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let package = Package::from_bytes("holdfast:component", None, component, graph.types_mut());
    let package = package.map_err(|error| failed("the component", error))?;
    Ok(graph.types()[package.ty()].imports.keys().cloned().collect())
}

struct Graph(CompositionGraph);

impl Graph {
    fn instance(&mut self, name: &str, component: &[u8]) -> Result<NodeId, ComposeError> {
        let package = Package::from_bytes(&format!("holdfast:{name}"), None, component, self.0.types_mut());
        let package = package.map_err(|error| failed(name, error))?;
        let package = self.0.register_package(package).map_err(|error| failed(name, error))?;
        Ok(self.0.instantiate(package))
    }

    /// Gives one instance's export to others that import it by the same name.
    fn connect(&mut self, from: NodeId, name: &str, to: &[NodeId]) -> Result<(), ComposeError> {
        let export = self.0.alias_instance_export(from, name).map_err(|error| failed(name, error))?;
        to.iter().try_for_each(|to| {
            self.0.set_instantiation_argument(*to, name, export).map_err(|error| failed(name, error))
        })
    }

    fn finish(mut self, from: NodeId, name: &str) -> Result<Vec<u8>, ComposeError> {
        let export = self.0.alias_instance_export(from, name).map_err(|error| failed(name, error))?;
        self.0.export(export, name).map_err(|error| failed(name, error))?;
        self.0.encode(EncodeOptions::default()).map_err(|error| failed("the composition", error))
    }
}

fn failed(what: &str, error: impl std::fmt::Debug) -> ComposeError {
    ComposeError { what: what.to_owned(), reason: format!("{error:?}") }
}
