//! Which candidate decides beside the active policy.

use std::sync::Arc;

use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::registry::State;
use crate::life::selection::Selection;
use crate::life::shadow::Shadow;

impl Lifecycle {
    /// Lets a staged artefact decide beside the active policy, or none.
    pub async fn shadow(&self, artefact: Option<&str>, of: &Selection) -> Result<Vec<String>, LifeError> {
        let key_stores = self.select(of)?;
        let digest = match artefact {
            Some(artefact) => Some(self.staged(artefact).await?),
            None => None,
        };
        if let Some(digest) = &digest {
            self.check_trust(self.registry.lock().await.state(), digest)?;
        }
        let mut shadows = Vec::new();
        for name in &key_stores {
            let shadow = match &digest {
                Some(digest) => Some(self.start_shadow(name, digest).await?),
                None => None,
            };
            shadows.push((name.clone(), shadow));
        }
        let mut registry = self.registry.lock().await;
        if digest.is_some() {
            // Under the lock, as an activation may come in between.
            self.decides_in(&key_stores)?;
        }
        tokio::task::block_in_place(|| {
            registry.change(|state| {
                for name in &key_stores {
                    state.set_shadow(name, digest.as_deref());
                }
            })
        })?;
        for (name, shadow) in shadows {
            self.set_shadow(&name, shadow);
        }
        Ok(key_stores)
    }

    /// A shadow gets its queries from the policy that decides.
    fn decides_in(&self, key_stores: &[String]) -> Result<(), LifeError> {
        let has_none = |name: &&String| self.places.get(*name).is_none_or(|place| place.slot.get().is_none());
        match key_stores.iter().find(has_none) {
            Some(name) => Err(LifeError::NothingBeside(name.clone())),
            None => Ok(()),
        }
    }

    async fn start_shadow(&self, name: &str, digest: &str) -> Result<Arc<Shadow>, LifeError> {
        // An instance of its own, so that it takes nothing from the active one.
        let candidate = self.load(name, Some(digest)).await?.ok_or(LifeError::Task)?;
        Shadow::start(name, digest, candidate).map(Arc::new).map_err(LifeError::Thread)
    }

    fn set_shadow(&self, name: &str, shadow: Option<Arc<Shadow>>) {
        let Some(place) = self.places.get(name) else { return };
        if let Some(active) = place.slot.get() {
            place.slot.swap(Some(Arc::new(active.with_shadow(shadow))));
        }
    }

    pub(super) async fn resume_shadows(&self, state: &State) {
        for name in self.places.keys() {
            let Some(digest) = state.shadow(name) else { continue };
            let started = match self.check_trust(state, digest) {
                Ok(()) => self.start_shadow(name, digest).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(shadow) => self.set_shadow(name, Some(shadow)),
                Err(error) => {
                    tracing::warn!(key_store = name, artefact = digest, %error, "the shadow policy isn't started");
                }
            }
        }
    }
}
