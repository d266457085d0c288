//! The policies of a host: what is in force where, and what changes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_sandbox::FilesInUse;
use tokio::sync::mpsc;

use crate::artefact::signature::TrustedKeys;
use crate::artefact::source::Source;
use crate::life::active::PolicySlot;
use crate::life::change::Record;
use crate::life::probation::{AutomaticRollback, Failed};
use crate::life::registry::Registry;
use crate::life::warm::Warm;
use crate::make::loader::Loader;

/// What the configuration says of a key store's policy.
pub struct Configured {
    /// The key store's name.
    pub key_store: String,
    /// Reads what `[key_store.policy]` names; `None` where there is none.
    pub policy: Option<Read>,
    /// Bytes of decisions that are kept.
    pub cache_bytes: usize,
}

/// Gives a component and its document, or why they can't be read.
pub type Read = Box<dyn Fn() -> Result<(Vec<u8>, Vec<Source>), String> + Send + Sync>;

/// What the host is told about staging.
pub struct Settings {
    /// Whose signatures count.
    pub trusted_keys: TrustedKeys,
    /// Whether none is needed.
    pub allow_unsigned: bool,
    /// When a policy is taken back by itself.
    pub automatic_rollback: Option<AutomaticRollback>,
    /// The private folder of compiled code and snapshots.
    pub cache: std::path::PathBuf,
}

pub(super) struct Place {
    pub(super) configured: Configured,
    pub(super) slot: Arc<PolicySlot>,
}

/// The policies of a host.
pub struct Lifecycle {
    pub(super) places: BTreeMap<String, Place>,
    pub(super) loader: Loader,
    pub(super) settings: Settings,
    /// Changes one after the other. Held over disk writes, never over loading.
    pub(super) registry: tokio::sync::Mutex<Registry>,
    /// One check at a time.
    pub(super) checking: tokio::sync::Mutex<()>,
    pub(super) warm: Mutex<Warm>,
    pub(super) failed: mpsc::UnboundedSender<Failed>,
    pub(super) record: Mutex<Option<Arc<Record>>>,
    pub(super) files: Arc<FilesInUse>,
}

impl Lifecycle {
    /// The place of a key store's policy.
    pub fn slot(&self, key_store: &str) -> Option<Arc<PolicySlot>> {
        self.places.get(key_store).map(|place| place.slot.clone())
    }

    /// The files that the policies are made of which were loaded since the start.
    pub fn files_in_use(&self) -> Arc<FilesInUse> {
        self.files.clone()
    }

    pub(super) fn warm(&self) -> std::sync::MutexGuard<'_, Warm> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
