//! A policy component with its document inside.

use std::path::Path;

use wasmtime::component::Component;

use crate::commands::CommandError;
use crate::config;
use crate::policy::{Limits, Load, Sandbox, Source};
use crate::sandbox::{Ticker, digest};

#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error("can't read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} has the digest {found}, and the configuration wants {wanted}")]
    Digest { path: String, found: String, wanted: String },
}

/// Runs the component on the document as the server does, and gives it in the state after.
pub fn configured(policy: &config::Policy) -> Result<Vec<u8>, CommandError> {
    let component = read(&policy.component.path)?;
    if let Some(pin) = &policy.component.sha256 {
        let (found, wanted) = (digest(&component), pin.to_string());
        if found != wanted {
            let path = policy.component.path.display().to_string();
            return Err(PolicyError::Digest { path, found, wanted }.into());
        }
    }
    let mut document = Vec::new();
    for path in &policy.files {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let text = String::from_utf8(read(path)?)?;
        document.push(Source { name, text });
    }
    let ticker = Ticker::start()?;
    let watch = |engine: &wasmtime::Engine| {
        ticker.add(engine);
        ticker.awake();
    };
    let compile = |engine: &wasmtime::Engine, bytes: &[u8]| Component::from_binary(engine, bytes);
    let load = Load {
        component: &component,
        document: &document,
        limits: Limits::default(),
        snapshots: None,
        sandbox: Sandbox { compile: &compile, watch: &watch },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(load.configured())?)
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    std::fs::read(path).map_err(|source| PolicyError::Read { path: path.display().to_string(), source })
}
