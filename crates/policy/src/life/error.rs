//! Why a change of policy isn't made.

use crate::artefact::format::ArtefactError;
use crate::artefact::signature::SignatureError;
use crate::decide::load_error::LoadError;
use crate::life::change::RecordError;
use crate::life::checker::CheckerError;
use crate::life::distrust::Distrust;
use crate::life::registry::RegistryError;

/// Why a change of policy isn't made. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// Something on disk.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It isn't an artefact.
    #[error("it isn't a policy that can be staged: {0}")]
    Artefact(#[from] ArtefactError),
    /// Signed by nobody.
    #[error(
        "it isn't signed; sign it with `holdfast policy sign` or minisign and stage it with its .minisig file, or set \
         allow_unsigned in [policies] for tests"
    )]
    Unsigned,
    /// Signed by nobody that counts.
    #[error("its signature doesn't count: {0}; trusted keys are in [policies] trusted_keys")]
    Signature(#[from] SignatureError),
    /// It failed a check.
    #[error("it is refused: {0}")]
    Refused(String),
    /// The process that checks can't be run.
    #[error("it can't be checked: {0}")]
    Checker(#[from] CheckerError),
    /// It can't be loaded, though it could be when it was staged.
    #[error("it can't be loaded: {0}")]
    Load(#[from] LoadError),
    /// No key store is meant.
    #[error("{0}")]
    KeyStore(String),
    /// No artefact is meant.
    #[error("{0}")]
    NotStaged(String),
    /// There is nothing to go back to.
    #[error("key store {0} has no earlier policy that didn't fail; activate a staged one")]
    NothingBefore(String),
    /// It was trusted when it was staged, and isn't any more.
    #[error(
        "the staged policy {artefact} isn't trusted now: {why}; stage it again with the signature of a trusted key, or \
         choose another one"
    )]
    Untrusted {
        /// Its digest.
        artefact: String,
        /// Why not.
        why: Distrust,
    },
    /// There is nothing to compare a shadow with.
    #[error("key store {0} has no policy that a shadow could decide beside; activate one first")]
    NothingBeside(String),
    /// The change can't be recorded.
    #[error("the change can't be recorded, so it isn't made: {0}")]
    Audit(RecordError),
    /// A thread can't be started.
    #[error("can't start the shadow: {0}")]
    Thread(std::io::Error),
    /// A task of the host's own failed.
    #[error("the host failed at it; see its log")]
    Task,
}
