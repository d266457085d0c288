//! What is in force when the host starts: what was in force when it ended, or nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::decide::component::ComponentPolicy;
use crate::decide::limits::Limits;
use crate::life::active::{Active, Origin, PolicySlot};
use crate::life::lifecycle::{Configured, Lifecycle, Place, Settings};
use crate::life::probation::{AutomaticRollback, Failed, Probation};
use crate::life::registry::{Registry, State};
use crate::life::time::now;
use crate::life::trust::tell_of_untrusted;
use crate::life::unusable::unusable;
use crate::life::warm::Warm;
use crate::make::loader::Loader;

impl Lifecycle {
    /// Loads what is in force for each key store. What can't be loaded refuses; nothing here fails.
    pub async fn start(
        folder: &Path,
        configured: Vec<Configured>,
        loader: Loader,
        settings: Settings,
    ) -> (Arc<Lifecycle>, mpsc::UnboundedReceiver<Failed>) {
        let (failed, failing) = mpsc::unbounded_channel();
        let opened = Registry::open(folder);
        let state = opened.as_ref().map(|registry| registry.state().clone()).unwrap_or_default();
        let (mut places, mut warm) = (BTreeMap::new(), Warm::default());
        for configured in configured {
            let name = configured.key_store.clone();
            let first = match &opened {
                Ok(registry) => first(registry, &configured, &loader).await,
                // Which policy is in force can't be known, so none is.
                Err(error) => {
                    let active = unusable(Origin::Configuration, error.to_string());
                    Some(First { active, loaded: None })
                }
            };
            let active = first.map(|First { mut active, loaded }| {
                let rule = settings.automatic_rollback.filter(|_| loaded.is_some());
                active.probation = rule.and_then(|rule| probation(&state, &name, rule, &failed));
                if let Some(policy) = loaded {
                    warm.put(&name, active.origin.artefact(), policy);
                }
                active
            });
            tell(&name, active.as_ref());
            let artefact = active.as_ref().and_then(|active| active.origin.artefact());
            if let Some(artefact) = artefact
                && let Some(why) = settings.distrust_of(&state, artefact)
            {
                tell_of_untrusted(&name, artefact, &why);
            }
            places.insert(name, Place { configured, slot: Arc::new(PolicySlot::new(active)) });
        }
        let registry = opened.unwrap_or_else(|_| Registry::unreadable(folder));
        let lifecycle = Arc::new(Lifecycle {
            places,
            loader,
            settings,
            registry: tokio::sync::Mutex::new(registry),
            checking: tokio::sync::Mutex::default(),
            warm: Mutex::new(warm),
            failed,
            record: Mutex::default(),
            files: Arc::default(),
        });
        lifecycle.resume_shadows(&state).await;
        (lifecycle, failing)
    }
}

/// The probation of an activation that is not long ago.
fn probation(
    state: &State,
    key_store: &str,
    rule: AutomaticRollback,
    failed: &mpsc::UnboundedSender<Failed>,
) -> Option<Arc<Probation>> {
    let activation = state.active(key_store).filter(|activation| activation.artefact.is_some())?;
    let ago = Duration::from_secs(now().saturating_sub(activation.time));
    Probation::new(key_store, activation.number, rule, failed.clone()).resume(ago).map(Arc::new)
}

/// What decides first, and the same where it could be loaded.
struct First {
    active: Active,
    loaded: Option<Arc<ComponentPolicy>>,
}

/// What is in force when the host starts.
async fn first(registry: &Registry, configured: &Configured, loader: &Loader) -> Option<First> {
    let activation = registry.state().active(&configured.key_store);
    let artefact = activation.and_then(|activation| Some((activation.number, activation.artefact.clone()?)));
    let (origin, source) = match artefact {
        Some((number, digest)) => {
            let read = registry.read(&digest).map_err(|error| error.to_string());
            let source = read.map(|artefact| (artefact.component, artefact.document));
            (Origin::Activation { number, artefact: digest }, source)
        }
        None => match &configured.policy {
            Some(read) => (Origin::Configuration, read()),
            None => return None,
        },
    };
    let loaded = match source {
        Ok((component, document)) => {
            let limits = Limits { cache: configured.cache_bytes, ..Limits::default() };
            let loaded = loader.load(&component, &document, limits).await;
            loaded.map_err(|error| error.to_string())
        }
        Err(why) => Err(why),
    };
    Some(match loaded {
        Ok(policy) => {
            let policy = Arc::new(policy);
            First { active: Active::new(policy.clone(), origin), loaded: Some(policy) }
        }
        Err(why) => First { active: unusable(origin, why), loaded: None },
    })
}

fn tell(key_store: &str, active: Option<&Active>) {
    let Some(active) = active else {
        tracing::warn!(key_store, "no policy is configured: every operation with a key is refused");
        return;
    };
    if let Some(why) = &active.unusable {
        tracing::error!(
            key_store,
            why,
            "the policy of this key store can't be loaded, so every operation with its keys is refused"
        );
        return;
    }
    let (identity, origin) = (active.policy.identity(), &active.origin);
    tracing::info!(
        key_store,
        engine = identity.engine,
        revision = identity.revision,
        rules = identity.rules.len(),
        ?origin,
        "policy loaded"
    );
}
