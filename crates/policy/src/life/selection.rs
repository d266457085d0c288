//! Which key stores, and which of their policies, a command means.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::registry::State;

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

impl Lifecycle {
    /// What a rollback of a key store leads to.
    pub(super) fn target(
        &self,
        state: &State,
        name: &str,
        to: Option<u64>,
    ) -> Result<Option<String>, LifeError> {
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
    pub(super) fn before(
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
    pub(super) fn select(&self, of: &Selection) -> Result<Vec<String>, LifeError> {
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
    pub(super) async fn staged(&self, artefact: &str) -> Result<String, LifeError> {
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
}
