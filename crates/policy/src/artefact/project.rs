//! A policy as its author has it: a folder with `policy.toml`, which says what goes into the artefact.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::artefact::format::{Artefact, Manifest};
use crate::artefact::source::Source;

/// The file that makes a folder a policy.
pub const PROJECT_FILE: &str = "policy.toml";

/// What `policy.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// What it is called.
    pub name: String,
    /// As the author counts.
    pub version: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// An engine that comes with Holdfast: `cedar`.
    pub engine: Option<String>,
    /// Or a component of one's own.
    pub component: Option<PathBuf>,
    /// The document's files, in their order.
    #[serde(default)]
    pub document: Vec<PathBuf>,
    /// Files of cases.
    #[serde(default)]
    pub tests: Vec<PathBuf>,
}

/// Why a folder isn't a policy.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file can't be read.
    #[error("can't read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `policy.toml` is wrong.
    #[error("{path}: {source}", path = path.display())]
    Toml {
        /// Which.
        path: PathBuf,
        /// Where and what.
        source: toml::de::Error,
    },
    /// It is unclear what decides.
    #[error("{}: exactly one of engine = \"cedar\" and component = \"FILE.wasm\" is needed", .0.display())]
    Engine(PathBuf),
    /// The engine's component isn't where Holdfast looks.
    #[error("the component {name} wasn't found in {looked_in}; `cargo xtask build` makes it")]
    NoEngine {
        /// The file.
        name: String,
        /// The folders.
        looked_in: String,
    },
    /// A core module that isn't of the contract.
    #[error("{path} is a core module that can't become a component: {reason}", path = path.display())]
    Module {
        /// Which.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A path without a file's name.
    #[error("{}: a file name is needed", .0.display())]
    Name(PathBuf),
}

impl Project {
    /// Reads a folder's `policy.toml`.
    pub fn read(folder: &Path) -> Result<Project, ProjectError> {
        let path = folder.join(PROJECT_FILE);
        let text = read_text(&path)?;
        toml::from_str(&text).map_err(|source| ProjectError::Toml { path, source })
    }

    /// Puts the folder's files together. `engines` are the folders where Holdfast's own components may be.
    pub fn artefact(&self, folder: &Path, engines: &[PathBuf]) -> Result<Artefact, ProjectError> {
        let component = match (&self.engine, &self.component) {
            (Some(engine), None) => find_engine(engine, engines)?,
            (None, Some(file)) => folder.join(file),
            _ => return Err(ProjectError::Engine(folder.join(PROJECT_FILE))),
        };
        let bytes = std::fs::read(&component)
            .map_err(|source| ProjectError::Unreadable { path: component.clone(), source })?;
        let bytes =
            componentize(bytes).map_err(|reason| ProjectError::Module { path: component.clone(), reason })?;
        let sources = |paths: &[PathBuf]| {
            paths.iter().map(|path| source(folder, path)).collect::<Result<Vec<_>, ProjectError>>()
        };
        Ok(Artefact {
            component: bytes,
            manifest: Some(Manifest {
                name: self.name.clone(),
                version: self.version.clone(),
                description: self.description.clone(),
            }),
            document: sources(&self.document)?,
            tests: sources(&self.tests)?,
        })
    }
}

/// A compiler's core module becomes a component by the contract that it carries; a component stays as it is.
fn componentize(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Ok(bytes);
    }
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(&bytes);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

fn find_engine(engine: &str, folders: &[PathBuf]) -> Result<PathBuf, ProjectError> {
    let name = format!("policy-{engine}.wasm");
    let found = folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file());
    let looked_in =
        || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| ProjectError::NoEngine { looked_in: looked_in(), name })
}

fn source(folder: &Path, path: &Path) -> Result<Source, ProjectError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| ProjectError::Name(path.to_owned()))?.to_owned();
    Ok(Source { name, text: read_text(&folder.join(path))? })
}

fn read_text(path: &Path) -> Result<String, ProjectError> {
    std::fs::read_to_string(path).map_err(|source| ProjectError::Unreadable { path: path.to_owned(), source })
}
