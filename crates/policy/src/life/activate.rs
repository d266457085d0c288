//! Putting another policy in force, forward or back.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::decide::component::ComponentPolicy;
use crate::life::active::{Active, Origin};
use crate::life::change::Change;
use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::probation::{Failed, Probation};
use crate::life::registry::{Cause, State};
use crate::life::selection::Selection;
use crate::life::time::now;

/// What an activation or a rollback changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activated {
    /// One for each key store.
    pub changes: Vec<Change>,
    /// From when everything was loaded to when the last key store decides by it.
    pub milliseconds: f64,
}

impl Lifecycle {
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
    pub(super) async fn put_in_force(
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
}

/// So that nobody goes back to it.
fn mark_failed(state: &mut State, failed: &Failed) {
    let activations = state.key_stores.get_mut(&failed.key_store).map(|known| &mut known.activations);
    let found = activations.and_then(|all| all.iter_mut().find(|a| a.number == failed.activation));
    if let Some(activation) = found {
        activation.failed =
            Some(format!("{} failing decisions within {:.1?}", failed.failures, failed.after));
    }
}
