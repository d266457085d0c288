//! How the policies of a host stand.

use serde::{Deserialize, Serialize};

use crate::life::active::Origin;
use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::registry::{Activation, Staged};
use crate::life::selection::Selection;
use crate::life::shadow::ShadowCounts;

/// Of all key stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// By name.
    pub key_stores: Vec<KeyStoreStanding>,
    /// In the order of staging.
    pub staged: Vec<Staged>,
    /// Those of the staged whose signature isn't trusted now.
    #[serde(default)]
    pub untrusted: Vec<String>,
}

/// Of one key store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyStoreStanding {
    /// The key store.
    pub key_store: String,
    /// Whether it decides requests by a policy; else it refuses all.
    pub decides: bool,
    /// Why it doesn't.
    pub why: Option<String>,
    /// The activation's number; 0 where the configuration's policy is in force.
    pub activation: u64,
    /// The artefact; `None`: the configuration's policy.
    pub artefact: Option<String>,
    /// Why the artefact couldn't be activated now, though it decides.
    #[serde(default)]
    pub untrusted: Option<String>,
    /// Such as `cedar 4.14.1`.
    pub engine: String,
    /// Digest of the component.
    pub component: String,
    /// Digest of the document.
    pub revision: String,
    /// Rules of the document.
    pub rules: usize,
    /// Decisions without an answer so far, of every kind.
    pub failures: u64,
    /// The activation's probation, while it lasts.
    pub watched: Option<Watched>,
    /// The candidate beside it.
    pub shadow: Option<(String, ShadowCounts)>,
}

/// An activation that is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Failing decisions since the activation.
    pub failures: u64,
    /// With so many it is taken back.
    pub limit: u64,
    /// For so many seconds from now.
    pub seconds: u64,
}

impl Lifecycle {
    /// How the policies stand.
    pub async fn standing(&self) -> Standing {
        let state = self.registry.lock().await.state().clone();
        let key_stores = self.places.iter().map(|(name, place)| {
            let nothing = KeyStoreStanding {
                key_store: name.clone(),
                decides: false,
                why: Some("no policy is configured or activated".to_owned()),
                activation: 0,
                artefact: None,
                untrusted: None,
                engine: String::new(),
                component: String::new(),
                revision: String::new(),
                rules: 0,
                failures: 0,
                watched: None,
                shadow: None,
            };
            let Some(active) = place.slot.get() else { return nothing };
            let (activation, artefact) = match &active.origin {
                Origin::Configuration => (0, None),
                Origin::Activation { number, artefact } => (*number, Some(artefact.clone())),
            };
            let distrust = artefact.as_ref().and_then(|digest| self.settings.distrust_of(&state, digest));
            let identity = active.policy.identity().clone();
            let watched = active.probation.as_ref().and_then(|probation| {
                let (failures, limit, left) = probation.standing();
                (!left.is_zero()).then_some(Watched { failures, limit, seconds: left.as_secs() })
            });
            KeyStoreStanding {
                decides: active.unusable.is_none(),
                why: active.unusable.clone(),
                activation,
                artefact,
                untrusted: distrust.map(|why| why.to_string()),
                engine: identity.engine,
                component: identity.component,
                revision: identity.revision,
                rules: identity.rules.len(),
                failures: active.policy.metrics().failures.iter().map(|(_, count)| count).sum(),
                watched,
                shadow: active.shadow().map(|shadow| (shadow.artefact.clone(), shadow.counts())),
                ..nothing
            }
        });
        let key_stores = key_stores.collect();
        let untrusted = state.staged.iter().filter(|staged| self.settings.distrust(staged).is_some());
        let untrusted = untrusted.map(|staged| staged.artefact.clone()).collect();
        Standing { key_stores, staged: state.staged, untrusted }
    }

    /// The activations of key stores, the latest last.
    pub async fn history(&self, of: &Selection) -> Result<Vec<(String, Vec<Activation>)>, LifeError> {
        let registry = self.registry.lock().await;
        let state = registry.state();
        let of_one = |name: String| {
            let activations = state.key_stores.get(&name).map(|known| known.activations.clone());
            (name, activations.unwrap_or_default())
        };
        Ok(self.select(of)?.into_iter().map(of_one).collect())
    }
}
