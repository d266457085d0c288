//! The contracts that the host knows (`wit/`), and whether a component keeps one.

use super::signature::Interface;
use std::pin::Pin;
use wasmtime::Engine;
use wasmtime::component::Component;

/// What a trial finds.
type Fitting<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + 'a>>;

/// One of the host's contracts.
#[derive(Debug)]
pub struct Contract {
    /// The WIT world.
    pub world: &'static str,
    /// Where such a component belongs in the configuration.
    pub configured_as: &'static str,
    /// All that it may import, besides plain types, which ask for nothing.
    imports: &'static [&'static str],
    /// What it must export.
    export: &'static str,
    /// The functions of that export.
    functions: &'static [&'static str],
    /// Holds a component against the contract's types, by the bindings that load it.
    fits: for<'a> fn(&'a Engine, &'a Component) -> Fitting<'a>,
}

impl Contract {
    /// Why its types aren't the contract's, if they aren't.
    pub fn misfit(&self, engine: &Engine, component: &Component) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let fitting = async { (self.fits)(engine, component).await };
        let error =
            runtime.map_err(wasmtime::Error::from).and_then(|runtime| runtime.block_on(fitting)).err()?;
        Some(format!("isn't of the world {}: {error:#}", self.world))
    }
}

const CONTRACTS: [Contract; 3] = [
    Contract {
        world: "holdfast:authn/authenticator@0.1.0",
        configured_as: "components.sigv4",
        imports: &[],
        export: "holdfast:authn/sigv4@0.1.0",
        functions: &["read-claim"],
        fits: |engine, component| Box::pin(crate::gate::Authenticator::fits(engine, component)),
    },
    Contract {
        world: "holdfast:proxy/proxy@0.1.0",
        configured_as: "components.proxy",
        imports: &["holdfast:gate/types@0.1.0"],
        export: "holdfast:proxy/handler@0.1.0",
        functions: &["handle"],
        fits: |engine, component| Box::pin(crate::proxy::Proxy::fits(engine, component)),
    },
    Contract {
        world: "holdfast:policy/policy-engine@0.1.0",
        configured_as: "key_store.policy.component",
        imports: holdfast_policy::decide::WASI_PACKAGES,
        export: "holdfast:policy/policy@0.1.0",
        functions: &["configure", "describe", "evaluate"],
        fits: |engine, component| Box::pin(holdfast_policy::decide::fits(engine, component)),
    },
];

/// What a component is, and why the host would not take it; no reason means that it would.
#[derive(Debug)]
pub struct Verdict {
    pub contract: Option<&'static Contract>,
    pub reasons: Vec<String>,
}

pub fn judge(imports: &[Interface], exports: &[Interface]) -> Verdict {
    let kept = |contract: &&Contract| exports.iter().any(|export| export.name == contract.export);
    let Some(contract) = CONTRACTS.iter().find(kept) else {
        return Verdict { contract: None, reasons: stranger(imports, exports) };
    };
    let mut reasons = Vec::new();
    for import in imports.iter().filter(|import| !import.types_only) {
        if !contract.imports.iter().any(|allowed| is_allowed(allowed, &import.name)) {
            let allowed = match contract.imports {
                [] => "nothing".to_owned(),
                allowed => format!("only {}", allowed.join(", ")),
            };
            reasons.push(format!("imports {}; {} may import {allowed}", import.name, contract.world));
        }
    }
    for export in exports.iter().filter(|export| export.name == contract.export) {
        for name in contract.functions {
            if !export.functions.iter().any(|function| function.name == *name) {
                reasons.push(format!("{} lacks the function {name}", contract.export));
            }
        }
    }
    Verdict { contract: Some(contract), reasons }
}

/// Why a component without an export of ours is of no use here.
fn stranger(imports: &[Interface], exports: &[Interface]) -> Vec<String> {
    let known: Vec<&str> = CONTRACTS.iter().map(|contract| contract.export).collect();
    let mut reasons = vec![format!("exports none of {}", known.join(", "))];
    for export in exports {
        let other_version = |known: &&&str| unversioned(known) == unversioned(&export.name);
        if let Some(known) = known.iter().find(other_version) {
            reasons.push(format!("exports {}; this host knows {known}", export.name));
        }
    }
    let allowed =
        |name: &str| CONTRACTS.iter().flat_map(|contract| contract.imports).any(|it| is_allowed(it, name));
    let ours = |name: &str| !name.starts_with("wasi:") && allowed(name);
    for import in imports.iter().filter(|import| !import.types_only && !ours(&import.name)) {
        reasons.push(format!("imports {}, which no component of this host has", import.name));
    }
    reasons
}

/// An interface by its name, or all of a package's, whose name ends with a slash.
fn is_allowed(allowed: &str, import: &str) -> bool {
    allowed == import || (allowed.ends_with('/') && import.starts_with(allowed))
}

fn unversioned(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}
