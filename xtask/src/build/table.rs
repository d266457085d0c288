//! The components: what they are called and how much memory they start with.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::process;
use crate::workspace::Workspace;

const KIB: u32 = 1024;

/// Which components to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that the host runs.
    Host,
    /// Spin's too.
    Product,
    /// The tests' hostile ones too.
    All,
}

/// A package that becomes a component.
pub struct Component {
    /// The file's name without `.wasm`.
    pub name: String,
    /// Cargo's name of it.
    pub package: String,
    /// How its linear memory is laid out; `None` leaves it to the compiler.
    pub memory: Option<Memory>,
}

/// Sizes in bytes, multiples of 16; `initial` and `max` of 64 KiB.
pub struct Memory {
    /// At the bottom of the memory, so that an overflow traps.
    pub stack: u32,
    /// What is there without `memory.grow`, which costs an mprotect each time.
    pub initial: Option<u32>,
    /// Beyond which the component itself gives up.
    pub max: Option<u32>,
}

/// Those that are chosen, in the order in which they are built.
pub fn chosen(workspace: &Workspace, which: Which) -> Result<Vec<Component>> {
    let mut list = host();
    if which != Which::Host {
        list.extend(spin());
    }
    if which == Which::All {
        list.extend(hostile(workspace)?);
    }
    Ok(list)
}

fn host() -> Vec<Component> {
    vec![
        // Reads one head, of 16 KiB at most as the host has it by default. The host clears all of an initial memory after
        // each request, so there is no more of it than is usually needed.
        component("sigv4", Memory { stack: 16 * KIB, initial: Some(64 * KIB), max: Some(1024 * KIB) }),
        // Holds a body and what becomes of it: 64 KiB by default, usually a tenth of that.
        component("proxy", Memory { stack: 16 * KIB, initial: Some(128 * KIB), max: Some(4096 * KIB) }),
        // Cedar recurses, and its needs follow from the policy.
        component("policy-cedar", Memory { stack: 1024 * KIB, initial: None, max: None }),
    ]
}

fn spin() -> Vec<Component> {
    let memory = || Memory { stack: 128 * KIB, initial: None, max: None };
    vec![component("spin-gate", memory()), component("spin-front", memory())]
}

fn component(name: &str, memory: Memory) -> Component {
    Component { name: name.into(), package: format!("holdfast-{name}"), memory: Some(memory) }
}

/// What the tests run besides: every package in the folder `tests/hostile`, as `hostile-NAME`.
fn hostile(workspace: &Workspace) -> Result<Vec<Component>> {
    let folder = workspace.root.join("tests/hostile");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut metadata = workspace.cargo();
    let text = process::capture(metadata.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut found: Vec<Component> = packages
        .filter(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
            manifest.parent().and_then(Path::parent) == Some(&folder)
        })
        .filter_map(|package| package["name"].as_str())
        .map(|package| {
            let name = package.trim_start_matches("holdfast-").trim_start_matches("hostile-");
            Component { name: format!("hostile-{name}"), package: package.into(), memory: None }
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
