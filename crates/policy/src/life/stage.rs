//! Staging: everything that is checked before a policy can go live.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::artefact::format::{Artefact, Manifest, artefact_digest};
use crate::life::checker;
use crate::life::checker::Checked;
use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::registry::{Incoming, RegistryError, Staged};
use crate::life::time::{milliseconds, now};

/// What staging found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// What it is called from now on.
    pub staged: Staged,
    /// What the checks found.
    pub checked: Checked,
    /// From the whole file to where it can be activated.
    pub milliseconds: f64,
}

impl Lifecycle {
    /// A file for an artefact that is being received.
    pub async fn receive(&self) -> Result<Incoming, RegistryError> {
        self.registry.lock().await.receive()
    }

    /// Checks a received artefact and keeps it. `tell` hears what goes on.
    ///
    /// # Errors
    /// Where it fails a check. Nothing has changed then.
    pub async fn stage(
        &self,
        incoming: Incoming,
        signature: Option<&str>,
        by: &str,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<StageReport, LifeError> {
        let _one_at_a_time = self.checking.lock().await;
        let begun = Instant::now();
        let path = incoming.path().to_owned();
        let bytes = tokio::task::block_in_place(|| std::fs::read(&path))
            .map_err(|source| RegistryError::Io { action: "read", path: path.clone(), source })?;
        tell("checking the signature");
        let signer = match signature {
            Some(signature) => Some(self.settings.trusted_keys.verify(&bytes, signature)?),
            None if self.settings.allow_unsigned => None,
            None => return Err(LifeError::Unsigned),
        };
        let artefact = Artefact::read(&bytes)?;
        let digest = artefact_digest(&bytes);
        tell("compiling and testing it in a process of its own");
        let checked = checker::check(&path, &self.settings.cache).await?.map_err(LifeError::Refused)?;
        let called = |Manifest { name, version, .. }: &Manifest| format!("{name}@{version}");
        let name = artefact.manifest.as_ref().map(called);
        let staged = Staged {
            artefact: digest.clone(),
            name,
            signer,
            engine: checked.engine.clone(),
            rules: checked.rules.len(),
            time: now(),
            by: by.to_owned(),
        };
        tell("loading it");
        self.keep(incoming, artefact, &staged).await?;
        tracing::info!(artefact = digest, by, "a policy is staged");
        Ok(StageReport { staged, checked, milliseconds: milliseconds(begun.elapsed()) })
    }

    /// Loads an artefact that passed all checks, and then keeps it: what can't be loaded isn't staged.
    pub(super) async fn keep(
        &self,
        incoming: Incoming,
        artefact: Artefact,
        staged: &Staged,
    ) -> Result<(), LifeError> {
        let digest = staged.artefact.as_str();
        let mut loaded = Vec::new();
        for (name, place) in &self.places {
            let (component, document) = (artefact.component.clone(), artefact.document.clone());
            loaded.push((name, self.load_parts(place, component, document).await?));
        }
        let mut registry = self.registry.lock().await;
        tokio::task::block_in_place(|| {
            registry.keep(incoming, digest)?;
            registry.change(|state| {
                state.staged.retain(|known| known.artefact != digest);
                state.staged.push(staged.clone());
            })
        })?;
        for (name, policy) in loaded {
            self.warm().put(name, Some(digest), policy);
        }
        Ok(())
    }
}
