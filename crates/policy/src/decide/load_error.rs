//! Why a policy's component can't be had to decide.

use std::io;
use std::path::PathBuf;

use crate::artefact::source::Problem;
use crate::policy::PolicyFailure;

/// Why a policy can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component wants more than a policy gets.
    #[error("the policy component imports {}; a policy gets nothing from the host but WASI 0.2 (cli, clocks, filesystem, io, random, sockets) with everything denied", .0.join(", "))]
    Imports(Vec<String>),
    /// The file isn't a component, or not one for policies.
    #[error("not a policy component: {0:#}; it must export holdfast:policy/policy@0.1.0 as in wit/policy")]
    World(wasmtime::Error),
    /// Its state can't be taken over into new instances.
    #[error(
        "the policy component can't be snapshotted: {0:#}; build it as one core module without table instructions \
         (what wasmtime-wizer takes)"
    )]
    Snapshot(wasmtime::Error),
    /// The document is wrong.
    #[error("the policy's document has problems:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Document(Vec<Problem>),
    /// The component failed while it read the document.
    #[error("reading the policy's document: {0}")]
    Failed(PolicyFailure),
    /// What the component says of itself is out of bounds.
    #[error("the policy component describes itself wrongly: {0}")]
    Description(String),
    /// The sandbox can't be set up.
    #[error("setting up the sandbox of the policy: {0:#}")]
    Engine(wasmtime::Error),
    /// The folder of snapshots can't be used.
    #[error("the folder of policy snapshots, {path}: {error}", path = .0.display(), error = .1)]
    Folder(PathBuf, io::Error),
}
