//! Compiled components on disk, by digest and engine, private to the user.
//!
//! Compiled code is trusted like the host's own, so the folder must belong to this user and be closed to others. It is
//! only ever written here, from components that were compiled here; nothing received is loaded as compiled code.

use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Why a component can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("can't read the component {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration pins another digest.
    #[error("the component {} has sha256 {found}, and the configuration wants {wanted}", path.display())]
    Pin {
        /// Which.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// It isn't a component, or not one of this contract.
    #[error("{what} is not usable: {reason}")]
    Component {
        /// Which.
        what: String,
        /// What wasmtime says.
        reason: String,
    },
    /// The cache's folder isn't private.
    #[error("the cache folder {} must be a folder of this user with mode 0700; remove it or choose another", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
    /// The cache's folder can't be made.
    #[error("can't make the cache folder {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The lower-case hexadecimal SHA-256 of a component.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of compiled components.
#[derive(Clone, Debug)]
pub struct CompiledCache {
    folder: PathBuf,
}

impl CompiledCache {
    /// Makes the folder with mode 0700, or checks that it has that mode and belongs to this user.
    pub fn open(folder: &Path) -> Result<CompiledCache, LoadError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| LoadError::Folder { path: folder.to_owned(), source })?;
        let metadata = fs::symlink_metadata(folder)
            .map_err(|source| LoadError::Folder { path: folder.to_owned(), source })?;
        // SAFETY: geteuid has no preconditions and can't fail.
        let user = unsafe { libc::geteuid() };
        if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
            return Err(LoadError::NotPrivate { path: folder.to_owned() });
        }
        Ok(CompiledCache { folder: folder.to_owned() })
    }

    /// The compiled component of these bytes: from the folder, or compiled and kept there. What can't be read back or
    /// kept is compiled again each time; only a component that doesn't compile is an error.
    pub fn load(&self, engine: &Engine, what: &str, bytes: &[u8]) -> Result<Component, LoadError> {
        let path = self.folder.join(format!("{}-{:016x}.compiled", digest(bytes), engine_hash(engine)));
        if let Some(component) = read_back(engine, &path) {
            crate::prune::mark_used(&path);
            return Ok(component);
        }
        tracing::info!(component = what, "compiling; the result is kept for the next start");
        let unusable = |error: wasmtime::Error| LoadError::Component {
            what: what.to_owned(),
            reason: format!("{error:#}"),
        };
        let component = Component::new(engine, bytes).map_err(unusable)?;
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| keep(&path, &code));
        if let Err(error) = kept {
            tracing::warn!(%error, path = %path.display(), "can't keep compiled code; starts stay slow");
        }
        Ok(component)
    }

    /// A file beside the compiled ones, for what else is worth keeping.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn engine_hash(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn read_back(engine: &Engine, path: &Path) -> Option<Component> {
    let content = fs::read(path).ok()?;
    let (sum, code) = content.split_at_checked(32)?;
    if Sha256::digest(code).as_slice() != sum {
        tracing::warn!(path = %path.display(), "kept compiled code is damaged; compiling again");
        return None;
    }
    // SAFETY: the file lies in a folder that only this user can write to, was written by `keep` from code that this
    // program compiled, and its checksum is whole. Engine settings and version are checked by wasmtime itself.
    unsafe { Component::deserialize(engine, code) }.ok()
}

fn keep(path: &Path, code: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(Sha256::digest(code).as_slice())?;
    file.write_all(code)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
