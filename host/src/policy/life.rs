//! The life of policies in a running host: staged, tried in the shadow, activated, and taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::runtime::FilesInUse;

use super::probation::Probation;
use super::registry::{Cause, Registry, RegistryError, State};
use super::{
    Active, ArtefactError, AutomaticRollback, ComponentPolicy, Failed, Limits, LoadError, Loader, Origin,
    PolicySlot, SignatureError, Source, TrustedKeys,
};

mod automatic;
mod check;
mod record;
mod shadowing;
mod stage;
mod standing;
mod start;
mod trust;
mod warm;

pub use automatic::keep_rolling_back;
use automatic::mark_failed;
pub use check::{COMMAND as CHECKER, Checked, CheckerError, run_checker};
pub use record::{Change, Record, RecordError, Recording, Told};
pub use stage::StageReport;
pub use standing::{KeyStoreStanding, Standing, Watched};
pub use trust::Distrust;
use warm::Warm;

/// Whose policies a command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The only key store; where there are several, one must be named.
    Only,
    /// All key stores.
    All,
    /// These.
    Named(Vec<String>),
}

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

struct Place {
    configured: Configured,
    slot: Arc<PolicySlot>,
}

/// The policies of a host.
pub struct Lifecycle {
    places: BTreeMap<String, Place>,
    loader: Loader,
    settings: Settings,
    /// Changes one after the other. Held over disk writes, never over loading.
    registry: tokio::sync::Mutex<Registry>,
    /// One check at a time.
    checking: tokio::sync::Mutex<()>,
    warm: Mutex<Warm>,
    failed: mpsc::UnboundedSender<Failed>,
    record: Mutex<Option<Arc<Record>>>,
    files: Arc<FilesInUse>,
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

    /// Lets a staged artefact decide. All key stores change together or none does.
    pub async fn activate(&self, artefact: &str, of: &Selection, by: &str) -> Result<Activated, LifeError> {
        let key_stores = self.select(of)?;
        let digest = self.staged(artefact).await?;
        let wanted = key_stores.into_iter().map(|name| (name, Some(digest.clone()))).collect();
        self.put_in_force(wanted, by, Cause::Activate, None).await
    }

    /// Goes back to what decided before, or to the activation `to`.
    pub async fn roll_back(&self, to: Option<u64>, of: &Selection, by: &str) -> Result<Activated, LifeError> {
        let key_stores = self.select(of)?;
        let state = self.registry.lock().await.state().clone();
        let mut wanted = Vec::new();
        for name in key_stores {
            let target = self.target(&state, &name, to)?;
            wanted.push((name, target));
        }
        self.put_in_force(wanted, by, Cause::Rollback, None).await
    }

    /// Loads, records, writes, and swaps, in this order: what fails before the swap changes nothing.
    async fn put_in_force(
        &self,
        wanted: Vec<(String, Option<String>)>,
        by: &str,
        cause: Cause,
        failed: Option<&Failed>,
    ) -> Result<Activated, LifeError> {
        let state = self.registry.lock().await.state().clone();
        for artefact in wanted.iter().filter_map(|(_, artefact)| artefact.as_deref()) {
            self.check_trust(&state, artefact)?;
        }
        let mut loaded = Vec::new();
        for (name, artefact) in wanted {
            let policy = self.loaded(&name, artefact.as_deref()).await?;
            loaded.push((name, artefact, policy));
        }
        let mut registry = self.registry.lock().await;
        let begun = Instant::now();
        if let Some(failed) = failed
            && registry
                .state()
                .active(&failed.key_store)
                .is_none_or(|active| active.number != failed.activation)
        {
            // Somebody was faster.
            return Ok(Activated { changes: Vec::new(), milliseconds: 0.0 });
        }
        let next = |name: &str| registry.state().active(name).map_or(0, |active| active.number) + 1;
        let mut changes: Vec<Change> = loaded
            .iter()
            .map(|(name, artefact, _)| Change {
                key_store: name.clone(),
                activation: next(name),
                artefact: artefact.clone(),
                cause: cause.clone(),
                by: by.to_owned(),
            })
            .collect();
        let told = self.announce(&changes, failed.is_some()).await?;
        let time = now();
        let written = tokio::task::block_in_place(|| {
            registry.change(|state| {
                if let Some(failed) = failed {
                    mark_failed(state, failed);
                }
                let activate = |Change { key_store, artefact, .. }: &Change| {
                    state.activate(key_store, artefact.as_deref(), time, by, cause.clone())
                };
                let numbers = changes.iter().map(activate).collect::<Vec<u64>>();
                // A shadow ends where nothing decides that it could be compared with.
                for (name, ..) in loaded.iter().filter(|(.., policy)| policy.is_none()) {
                    state.set_shadow(name, None);
                }
                numbers
            })
        });
        match written {
            // As they are on the disk: another process may have changed it meanwhile.
            Ok(numbers) => {
                changes.iter_mut().zip(numbers).for_each(|(change, number)| change.activation = number)
            }
            Err(error) => {
                self.take_back(&told, &error).await;
                return Err(error.into());
            }
        }
        for ((name, artefact, policy), change) in loaded.into_iter().zip(&changes) {
            self.swap(&name, artefact, policy, change.activation);
            tracing::warn!(
                key_store = name,
                activation = change.activation,
                artefact = change.artefact.as_deref().unwrap_or("the configuration's policy"),
                by,
                cause = ?change.cause,
                "another policy is in force"
            );
        }
        Ok(Activated { changes, milliseconds: begun.elapsed().as_secs_f64() * 1000.0 })
    }

    fn swap(&self, name: &str, artefact: Option<String>, policy: Option<Arc<ComponentPolicy>>, number: u64) {
        let Some(place) = self.places.get(name) else { return };
        let before = place.slot.get();
        // What decides needs no trial any more.
        let shadow = before.as_ref().and_then(|active| active.shadow.clone());
        let shadow = shadow.filter(|shadow| artefact.as_ref() != Some(&shadow.artefact));
        let active = policy.clone().map(|policy| {
            let origin = match &artefact {
                Some(artefact) => Origin::Activation { number, artefact: artefact.clone() },
                None => Origin::Configuration,
            };
            // What the configuration says isn't on trial.
            let rule = self.settings.automatic_rollback.filter(|_| artefact.is_some());
            let probation =
                rule.map(|rule| Arc::new(Probation::new(name, number, rule, self.failed.clone())));
            Arc::new(Active { probation, shadow, ..Active::new(policy, origin) })
        });
        place.slot.swap(active);
        if let Some(policy) = policy {
            // So that one can go back and forth at once, whatever becomes of the disk.
            self.warm().put(name, artefact.as_deref(), policy);
        }
    }

    /// What a rollback of a key store leads to.
    fn target(&self, state: &State, name: &str, to: Option<u64>) -> Result<Option<String>, LifeError> {
        match to {
            // One that isn't trusted any more isn't left out, but refused later: who asks for it decides what to do.
            None => self.before(state, name, |_| true),
            Some(0) => Ok(None),
            Some(number) => {
                let known = state.key_stores.get(name);
                let found = known.and_then(|known| known.activations.iter().find(|a| a.number == number));
                let missing = || {
                    LifeError::NotStaged(format!(
                        "key store {name} has no activation {number}; `holdfast policy history` lists them"
                    ))
                };
                found.map(|activation| activation.artefact.clone()).ok_or_else(missing)
            }
        }
    }

    /// The last policy that didn't fail. Where none is configured, that isn't what one goes back to without saying so.
    fn before(
        &self,
        state: &State,
        name: &str,
        may_decide: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, LifeError> {
        let configured = self.places.get(name).is_some_and(|place| place.configured.policy.is_some());
        let before = state.before(name, may_decide).filter(|before| before.is_some() || configured);
        before.ok_or_else(|| LifeError::NothingBefore(name.to_owned()))
    }

    /// The names that are meant, all of them known.
    fn select(&self, of: &Selection) -> Result<Vec<String>, LifeError> {
        let all = || self.places.keys().cloned().collect::<Vec<_>>();
        match of {
            Selection::All => Ok(all()),
            Selection::Only if self.places.len() == 1 => Ok(all()),
            Selection::Only => Err(LifeError::KeyStore(format!(
                "there are several key stores; choose with --key-store NAME or --all: {}",
                all().join(", ")
            ))),
            Selection::Named(names) => match names.iter().find(|name| !self.places.contains_key(*name)) {
                Some(name) => Err(LifeError::KeyStore(format!(
                    "there is no key store {name:?}; there are: {}",
                    all().join(", ")
                ))),
                // Each once.
                None => Ok(names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
            },
        }
    }

    /// The whole digest of a staged artefact: of the beginning of its digest, or of its name.
    async fn staged(&self, artefact: &str) -> Result<String, LifeError> {
        let registry = self.registry.lock().await;
        let staged = &registry.state().staged;
        let by_digest = |text: &str| {
            let found = staged.iter().filter(|s| text.len() >= 6 && s.artefact.starts_with(text));
            found.map(|s| s.artefact.clone()).collect::<Vec<_>>()
        };
        let by_name = || {
            let found = staged.iter().filter(|s| s.name.as_deref() == Some(artefact));
            found.map(|s| s.artefact.clone()).collect::<Vec<_>>()
        };
        let mut found = by_digest(artefact);
        if found.is_empty() {
            found = by_name();
        }
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(LifeError::NotStaged(format!(
                "no staged policy is called {artefact:?}; `holdfast policy status` lists them, `holdfast policy stage` adds one"
            ))),
            several => Err(LifeError::NotStaged(format!(
                "{artefact:?} could be any of {}; give more of the digest",
                several.join(", ")
            ))),
        }
    }

    /// What is warm already, else loaded now.
    async fn loaded(
        &self,
        name: &str,
        artefact: Option<&str>,
    ) -> Result<Option<Arc<ComponentPolicy>>, LifeError> {
        if let Some(policy) = self.warm().get(name, artefact) {
            return Ok(Some(policy));
        }
        self.load(name, artefact).await
    }

    async fn load(
        &self,
        name: &str,
        artefact: Option<&str>,
    ) -> Result<Option<Arc<ComponentPolicy>>, LifeError> {
        let place = self.places.get(name).ok_or(LifeError::Task)?;
        let (component, document) = match artefact {
            Some(digest) => {
                let artefact = self.registry.lock().await.read(digest)?;
                (artefact.component, artefact.document)
            }
            None => match &place.configured.policy {
                // As it is now, which is what a restart would find too.
                Some(read) => tokio::task::block_in_place(read).map_err(LifeError::Refused)?,
                None => return Ok(None),
            },
        };
        self.load_parts(place, component, document).await.map(Some)
    }

    async fn load_parts(
        &self,
        place: &Place,
        component: Vec<u8>,
        document: Vec<Source>,
    ) -> Result<Arc<ComponentPolicy>, LifeError> {
        let (loader, cache_bytes) = (self.loader.clone(), place.configured.cache_bytes);
        let (files, folder) = (self.files.clone(), self.settings.cache.clone());
        let handle = tokio::runtime::Handle::current();
        // Reading, hashing and mapping compiled code takes a tenth of a second of a thread's time.
        let loading = tokio::task::spawn_blocking(move || {
            let begun = SystemTime::now();
            let policy = handle.block_on(async {
                let limits = Limits { cache: cache_bytes, ..Limits::default() };
                let policy = loader.load(&component, &document, limits).await?;
                policy.warm_up().await;
                Ok::<_, LoadError>(Arc::new(policy))
            })?;
            files.note(&folder, begun, &policy);
            Ok::<_, LoadError>(policy)
        });
        Ok(loading.await.map_err(|_| LifeError::Task)??)
    }

    fn warm(&self) -> std::sync::MutexGuard<'_, Warm> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an activation or a rollback changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activated {
    /// One for each key store.
    pub changes: Vec<Change>,
    /// From when everything was loaded to when the last key store decides by it.
    pub milliseconds: f64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// For logs and reports.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests;
