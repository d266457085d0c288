//! Staged policies and activations on disk. A kill at any instant leaves a whole state: the one before or after a change.
//!
//! In the folder (mode 0700): `state.json`, replaced as a whole, says what is staged and what was activated when, the last
//! of which is in force; `artefacts/DIGEST.wasm` are the staged files, written and synced before the state names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::artefact::format::{Artefact, artefact_digest};

mod disk;
mod error;

pub use disk::Incoming;
pub use error::RegistryError;

/// The format of `state.json`.
const SCHEMA: u32 = 1;
/// Activations of a key store that are remembered.
const HISTORY: usize = 200;
/// Staged artefacts that are kept besides those in use.
const STAGED: usize = 32;
/// The last activations of a key store whose artefacts are kept in any case.
const KEPT: usize = 5;

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    schema: u32,
    /// In the order of staging.
    pub staged: Vec<Staged>,
    /// By name.
    pub key_stores: BTreeMap<String, KeyStoreState>,
}

/// An artefact that passed all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// SHA-256 of the file, in hexadecimal.
    pub artefact: String,
    /// Its name and version, as the manifest has them.
    pub name: Option<String>,
    /// The key that signed it.
    pub signer: Option<String>,
    /// What it calls itself, such as `cedar 4.14.1`.
    pub engine: String,
    /// Rules of its document.
    pub rules: usize,
    /// In seconds since 1970.
    pub time: u64,
    /// Who staged it.
    pub by: String,
}

/// What was activated for a key store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStoreState {
    /// The last one is in force.
    pub activations: Vec<Activation>,
    /// The artefact that decides beside it without counting.
    pub shadow: Option<String>,
}

/// One change of a key store's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Counts a key store's activations from 1.
    pub number: u64,
    /// `None`: the configuration's policy.
    pub artefact: Option<String>,
    /// In seconds since 1970.
    pub time: u64,
    /// Who did it.
    pub by: String,
    /// What brought it about.
    pub cause: Cause,
    /// Why it was taken back by the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What brings an activation about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `holdfast policy activate`.
    Activate,
    /// `holdfast policy rollback`.
    Rollback,
    /// The policy before it failed too often.
    AutomaticRollback,
}

impl Cause {
    /// Whether it leads back.
    pub fn is_rollback(&self) -> bool {
        matches!(self, Cause::Rollback | Cause::AutomaticRollback)
    }
}

impl State {
    /// The activation that is in force.
    pub fn active(&self, key_store: &str) -> Option<&Activation> {
        self.key_stores.get(key_store)?.activations.last()
    }

    /// The shadow's artefact.
    pub fn shadow(&self, key_store: &str) -> Option<&str> {
        self.key_stores.get(key_store)?.shadow.as_deref()
    }

    /// The staged artefact.
    pub fn staged(&self, artefact: &str) -> Option<&Staged> {
        self.staged.iter().find(|staged| staged.artefact == artefact)
    }

    /// What decides beside a key store's policy from now on.
    pub fn set_shadow(&mut self, key_store: &str, artefact: Option<&str>) {
        self.key_stores.entry(key_store.to_owned()).or_default().shadow = artefact.map(str::to_owned);
    }

    /// Adds an activation and gives its number.
    pub fn activate(
        &mut self,
        key_store: &str,
        artefact: Option<&str>,
        time: u64,
        by: &str,
        cause: Cause,
    ) -> u64 {
        let KeyStoreState { activations, shadow } = self.key_stores.entry(key_store.to_owned()).or_default();
        // What decides needs no trial any more.
        if shadow.as_deref() == artefact {
            *shadow = None;
        }
        let number = activations.last().map_or(0, |last| last.number) + 1;
        activations.push(Activation {
            number,
            artefact: artefact.map(str::to_owned),
            time,
            by: by.to_owned(),
            cause,
            failed: None,
        });
        let surplus = activations.len().saturating_sub(HISTORY);
        activations.drain(..surplus);
        number
    }

    /// What to go back to: what was in force before the last activation, leaving out what failed, what was gone back from and
    /// not activated since, and artefacts that `may_decide` says no to. The configuration's policy (`None` inside) was in
    /// force before the first.
    pub fn before(&self, key_store: &str, may_decide: impl Fn(&str) -> bool) -> Option<Option<String>> {
        let activations = &self.key_stores.get(key_store)?.activations;
        let (last, earlier) = activations.split_last()?;
        let failed: BTreeSet<_> =
            activations.iter().filter(|a| a.failed.is_some()).map(|a| &a.artefact).collect();
        let left = left(activations);
        let may_decide = |artefact: &Option<String>| artefact.as_deref().is_none_or(&may_decide);
        let is_good = |artefact: &Option<String>| {
            *artefact != last.artefact
                && !failed.contains(artefact)
                && !left.contains(artefact)
                && may_decide(artefact)
        };
        let good = earlier.iter().rev().map(|activation| &activation.artefact).find(|a| is_good(a));
        match good {
            Some(good) => Some(good.clone()),
            // Numbers begin at 1, so the whole history is here, and the configuration's policy stood before it.
            None if activations.first().is_some_and(|first| first.number == 1) && is_good(&None) => {
                Some(None)
            }
            None => None,
        }
    }

    /// The artefacts that decide, decide as a shadow, or that a rollback may need.
    fn in_use(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for (name, key_store) in &self.key_stores {
            used.extend(key_store.shadow.clone());
            used.extend(key_store.activations.iter().rev().take(KEPT).filter_map(|a| a.artefact.clone()));
            // It may be longer ago than that, where the last ones failed.
            used.extend(self.before(name, |_| true).flatten());
        }
        used
    }

    /// Removes what is staged beyond what is kept, the oldest first, and so never what was staged last.
    fn forget_the_oldest(&mut self) {
        let used = self.in_use();
        let is_unused = |staged: &Staged| !used.contains(&staged.artefact);
        let mut surplus =
            self.staged.iter().filter(|staged| is_unused(staged)).count().saturating_sub(STAGED);
        self.staged.retain(|staged| {
            let goes = surplus > 0 && is_unused(staged);
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// The folder.
#[derive(Debug)]
pub struct Registry {
    folder: PathBuf,
    state: State,
}

impl Registry {
    /// Reads what is there. A folder that isn't there is empty, and is made by the first change.
    pub fn open(folder: &Path) -> Result<Registry, RegistryError> {
        let mut state = State::default();
        if disk::is_there(folder)? {
            state = read_state(&state_path(folder))?;
            // What a kill left behind.
            disk::sweep(folder, |digest| state.staged(digest).is_some());
        }
        Ok(Registry { folder: folder.to_owned(), state })
    }

    /// One whose state can't be read: it knows of nothing, and every change of it fails for the same reason.
    pub(crate) fn unreadable(folder: &Path) -> Registry {
        Registry { folder: folder.to_owned(), state: State::default() }
    }

    /// What is kept.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Changes the state durably. After an error it is as it was, on disk and here.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut State) -> T) -> Result<T, RegistryError> {
        disk::make(&self.folder)?;
        let _lock = disk::lock(&self.folder)?;
        let path = state_path(&self.folder);
        // Not `self.state`: another host may have changed it.
        let mut state = if path.exists() { read_state(&path)? } else { self.state.clone() };
        let result = change(&mut state);
        state.schema = SCHEMA;
        state.forget_the_oldest();
        let text = serde_json::to_vec_pretty(&state)
            .map_err(|error| RegistryError::Damaged { path: path.clone(), why: error.to_string() })?;
        disk::replace(&path, &text)?;
        let known: BTreeSet<&str> = state.staged.iter().map(|staged| staged.artefact.as_str()).collect();
        for gone in self.state.staged.iter().filter(|staged| !known.contains(staged.artefact.as_str())) {
            disk::forget(&self.artefact_path(&gone.artefact));
        }
        self.state = state;
        Ok(result)
    }

    /// A file for an artefact that is being received.
    pub fn receive(&self) -> Result<Incoming, RegistryError> {
        disk::make(&self.folder)?;
        Incoming::create(&self.folder)
    }

    /// Gives a received file its place. It isn't staged before the state names it.
    pub fn keep(&self, incoming: Incoming, digest: &str) -> Result<(), RegistryError> {
        incoming.rename(&self.artefact_path(digest))
    }

    /// Reads a staged artefact, and makes sure that it is the one that was staged.
    pub fn read(&self, digest: &str) -> Result<Artefact, RegistryError> {
        let lost = || RegistryError::Lost { digest: digest.to_owned() };
        let bytes = std::fs::read(self.artefact_path(digest)).map_err(|_| lost())?;
        if artefact_digest(&bytes) != digest {
            return Err(lost());
        }
        Artefact::read(&bytes).map_err(|source| RegistryError::Artefact { digest: digest.to_owned(), source })
    }

    /// Where the artefact of this digest is.
    pub fn artefact_path(&self, digest: &str) -> PathBuf {
        disk::artefacts(&self.folder).join(format!("{digest}.wasm"))
    }
}

fn state_path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

fn read_state(path: &Path) -> Result<State, RegistryError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::default()),
        Err(source) => return Err(disk::failed("read", path, source)),
    };
    let damaged = |why: String| RegistryError::Damaged { path: path.to_owned(), why };
    let state: State = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    match state.schema {
        SCHEMA => Ok(state),
        other => Err(damaged(format!("its schema is {other}, and this version knows {SCHEMA}"))),
    }
}

/// What a rollback left, and nobody activated since.
fn left(activations: &[Activation]) -> BTreeSet<&Option<String>> {
    let mut left = BTreeSet::new();
    let mut before: Option<&Activation> = None;
    for activation in activations {
        left.remove(&activation.artefact);
        if let (true, Some(before)) = (activation.cause.is_rollback(), before)
            && before.artefact != activation.artefact
        {
            left.insert(&before.artefact);
        }
        before = Some(activation);
    }
    left
}

#[cfg(test)]
mod tests;
