//! From a package to a component: cargo makes the core module, `crates/encode` wraps it.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::native::{COMPOSE, ENCODE};
use super::table::{Component, Memory};
use crate::error::Result;
use crate::report::{dim, note};
use crate::setup::wasm_target::{TARGET, Toolchain};
use crate::workspace::{Profile, Workspace, write_if_changed};
use crate::{cargo, process};

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

impl Built {
    /// Prints a line.
    pub fn tell(&self, name: &str) {
        let state = if self.changed { "new" } else { "unchanged" };
        note(format!("{name:<20} {:>9} bytes  sha256:{}  {}", self.size, self.sha256, dim(state)));
    }
}

/// The name of what is composed, without `.wasm`.
pub const COMPOSED: &str = "holdfast-spin";

/// Makes a component of what [`compile`] left, as `target/components/NAME.wasm`.
pub fn encode(workspace: &Workspace, component: &Component) -> Result<Built> {
    let mut program = Command::new(workspace.program(ENCODE, Profile::Dev));
    made_by(program.arg(module_path(workspace, component)), workspace, &component.name)
}

/// Puts the component that Spin runs together of those beside it.
pub fn compose(workspace: &Workspace) -> Result<Built> {
    let mut program = Command::new(workspace.program(COMPOSE, Profile::Dev));
    made_by(program.arg(workspace.components()), workspace, COMPOSED)
}

fn made_by(program: &mut Command, workspace: &Workspace, name: &str) -> Result<Built> {
    let bytes = process::bytes(program)?;
    let path = workspace.components().join(name).with_extension("wasm");
    let changed = write_if_changed(&path, &bytes)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Built { size: bytes.len(), sha256, changed })
}

/// Compiles a component's core module.
pub fn compile(workspace: &Workspace, toolchain: &Toolchain, component: &Component) -> Result<()> {
    let mut command = toolchain.cargo(workspace);
    command.args(["rustc", "--package", &component.package, "--lib", "--crate-type", "cdylib"]);
    command.args(["--target", TARGET, "--profile", PROFILE]).args(toolchain.arguments());
    command.arg("--target-dir").arg(workspace.component_target());
    // The environment's own flags would make other bytes on every machine.
    command.env("CARGO_ENCODED_RUSTFLAGS", remapped_paths(workspace).join("\x1f")).env_remove("RUSTFLAGS");
    command.arg("--");
    for argument in component.memory.iter().flat_map(link_arguments) {
        command.arg("-C").arg(format!("link-arg={argument}"));
    }
    cargo::run(&mut command)
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
