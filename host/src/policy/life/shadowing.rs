//! Which candidate decides beside the active policy.

use std::sync::Arc;

use super::{LifeError, Lifecycle, Selection};
use crate::policy::Shadow;
use crate::policy::registry::State;

impl Lifecycle {
    /// Lets a staged artefact decide beside the active policy, or none.
    pub async fn shadow(&self, artefact: Option<&str>, of: &Selection) -> Result<Vec<String>, LifeError> {
        let key_stores = self.select(of)?;
        let digest = match artefact {
            Some(artefact) => Some(self.staged(artefact).await?),
            None => None,
        };
        let mut shadows = Vec::new();
        for name in &key_stores {
            let shadow = match &digest {
                Some(digest) => Some(self.start_shadow(name, digest).await?),
                None => None,
            };
            shadows.push((name.clone(), shadow));
        }
        let mut registry = self.registry.lock().await;
        tokio::task::block_in_place(|| {
            registry.change(|state| {
                for name in &key_stores {
                    state.key_stores.entry(name.clone()).or_default().shadow = digest.clone();
                }
            })
        })?;
        for (name, shadow) in shadows {
            self.set_shadow(&name, shadow);
        }
        Ok(key_stores)
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
            match self.start_shadow(name, digest).await {
                Ok(shadow) => self.set_shadow(name, Some(shadow)),
                Err(error) => {
                    tracing::warn!(key_store = name, artefact = digest, %error, "the shadow policy can't be loaded");
                }
            }
        }
    }
}
