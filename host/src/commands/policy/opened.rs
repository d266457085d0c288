//! A policy as a command names it: an artefact's file, a component's, or a folder with `policy.toml`.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use crate::commands::CommandError;
use crate::commands::init::components::beside_executable;
use holdfast_policy::artefact::{Artefact, ArtefactError, Project, ProjectError, artefact_digest};
use holdfast_policy::decide::{ComponentPolicy, Limits, LoadError};
use holdfast_policy::make::Loader;
use holdfast_sandbox::CompiledCache;

/// Where a policy is.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// A policy's file (.wasm), or a folder with policy.toml
    #[arg(default_value = ".", value_name = "POLICY")]
    pub path: PathBuf,
}

/// A policy that was read.
#[derive(Debug)]
pub struct Opened {
    pub artefact: Artefact,
    /// The artefact's name: of a folder, as `pack` would make it.
    pub digest: String,
    /// In bytes.
    pub size: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("can't read {path}", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}: {source}", path = path.display())]
    Artefact { path: PathBuf, source: ArtefactError },
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("{path}: {source}", path = path.display())]
    Load { path: PathBuf, source: LoadError },
}

impl Opened {
    /// Reads a file or a folder.
    pub fn read(path: &Path) -> Result<Opened, OpenError> {
        let wrong = |source| OpenError::Artefact { path: path.to_owned(), source };
        let artefact = match path.is_dir() {
            true => Project::read(path)?.artefact(path, &engines())?,
            false => {
                let bytes = std::fs::read(path)
                    .map_err(|source| OpenError::Unreadable { path: path.to_owned(), source })?;
                Artefact::read(&bytes).map_err(wrong)?
            }
        };
        let bytes = artefact.encode().map_err(wrong)?;
        Ok(Opened { digest: artefact_digest(&bytes), size: bytes.len(), artefact })
    }

    /// What people call it.
    pub fn title(&self) -> String {
        match &self.artefact.manifest {
            Some(manifest) => format!("{} {}", manifest.name, manifest.version),
            None => "a component on its own".to_owned(),
        }
    }

    /// Loads it as the host does, with a decision cache of so many bytes.
    pub async fn load(&self, path: &Path, cache: usize) -> Result<ComponentPolicy, CommandError> {
        let limits = Limits { cache, ..Limits::default() };
        let loader = Loader::alone(compiled())?;
        let loaded = loader.load(&self.artefact.component, &self.artefact.document, limits).await;
        Ok(loaded.map_err(|source| OpenError::Load { path: path.to_owned(), source })?)
    }
}

/// Where Holdfast's own components may be: `$HOLDFAST_COMPONENTS`, or beside the program.
pub fn engines() -> Vec<PathBuf> {
    let named = std::env::var_os("HOLDFAST_COMPONENTS").map(PathBuf::from);
    named.into_iter().chain(beside_executable()).collect()
}

/// The user's own folder of compiled code, so that a policy is compiled once and not for every command. Without one
/// each command compiles.
fn compiled() -> Option<CompiledCache> {
    let folder = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    CompiledCache::open(&folder.join("holdfast")).ok()
}

/// Runs what waits for a policy.
pub fn block_on<T>(future: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(future)
}
