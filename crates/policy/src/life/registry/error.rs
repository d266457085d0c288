//! Why nothing can be staged or activated.

use std::path::PathBuf;

use crate::artefact::format::ArtefactError;

/// Why the registry can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The operating system refused.
    #[error("can't {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others could change policies in it.
    #[error("the folder of policies {} must belong to the user that the host runs as, with mode 0700", .0.display())]
    NotPrivate(PathBuf),
    /// The state can't be read.
    #[error("{path} is damaged: {why}; restore it from a backup, or remove it and activate again", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// A staged file isn't what it was.
    #[error("the staged policy {digest} is damaged or gone; stage it again")]
    Lost {
        /// Which.
        digest: String,
    },
    /// A staged file can't be read as an artefact.
    #[error("the staged policy {digest}: {source}")]
    Artefact {
        /// Which.
        digest: String,
        /// Why.
        source: ArtefactError,
    },
}
