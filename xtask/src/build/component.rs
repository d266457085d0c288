//! From a package to a component: cargo makes the core module, wit-component wraps it.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use super::table::{Component, Memory};
use crate::error::{Error, Result, file};
use crate::process;
use crate::setup::wasm_target::{TARGET, Toolchain};
use crate::workspace::{Workspace, write_if_changed};

const PROFILE: &str = "component";

/// What came out.
pub struct Built {
    /// In bytes.
    pub size: usize,
    /// The whole file's, in lower-case hexadecimal digits: its name in logs.
    pub sha256: String,
    /// Whether the file differs from the one that was there.
    pub changed: bool,
}

/// Builds one component into `target/components/NAME.wasm`.
pub fn build(workspace: &Workspace, toolchain: &Toolchain, component: &Component) -> Result<Built> {
    compile(workspace, toolchain, component)?;
    let module = module_path(workspace, component);
    let module = std::fs::read(&module).map_err(file("can't read", &module))?;
    let bytes = encode(&module).map_err(|reason| Error::Component {
        component: component.name.clone(),
        reason: format!("{reason:?}"),
    })?;
    let path = workspace.components().join(&component.name).with_extension("wasm");
    let changed = write_if_changed(&path, &bytes)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Built { size: bytes.len(), sha256, changed })
}

fn compile(workspace: &Workspace, toolchain: &Toolchain, component: &Component) -> Result<()> {
    let mut cargo = toolchain.cargo(workspace);
    cargo.args(["rustc", "--package", &component.package, "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE]).args(toolchain.arguments());
    cargo.arg("--target-dir").arg(workspace.component_target());
    // The environment's own flags would make other bytes on every machine.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", remapped_paths(workspace).join("\x1f")).env_remove("RUSTFLAGS");
    cargo.arg("--");
    for argument in component.memory.iter().flat_map(link_arguments) {
        cargo.arg("-C").arg(format!("link-arg={argument}"));
    }
    process::run(&mut cargo)
}

fn link_arguments(memory: &Memory) -> Vec<String> {
    let mut arguments = vec![format!("-zstack-size={}", memory.stack)];
    arguments.extend(memory.initial.map(|size| format!("--initial-memory={size}")));
    arguments.extend(memory.max.map(|size| format!("--max-memory={size}")));
    arguments
}

/// Panics name source files: without the folders that differ from machine to machine.
fn remapped_paths(workspace: &Workspace) -> Vec<String> {
    let mut flags = vec![format!("--remap-path-prefix={}=/holdfast", workspace.root.display())];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let registries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    for registry in registries.into_iter().flatten().flatten() {
        flags.push(format!("--remap-path-prefix={}=/registry", registry.path().display()));
    }
    flags
}

fn module_path(workspace: &Workspace, component: &Component) -> PathBuf {
    let file = component.package.replace('-', "_");
    workspace.component_target().join(TARGET).join(PROFILE).join(file).with_extension("wasm")
}

fn encode(module: &[u8]) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
    Ok(encoder.encode()?)
}
