//! Loading a policy that is to decide: a staged one, or the configuration's.

use std::sync::Arc;
use std::time::SystemTime;

use crate::artefact::source::Source;
use crate::decide::component::ComponentPolicy;
use crate::decide::limits::Limits;
use crate::decide::load_error::LoadError;
use crate::life::error::LifeError;
use crate::life::lifecycle::{Lifecycle, Place};

impl Lifecycle {
    /// What is warm already, else loaded now.
    pub(super) async fn loaded(
        &self,
        name: &str,
        artefact: Option<&str>,
    ) -> Result<Option<Arc<ComponentPolicy>>, LifeError> {
        if let Some(policy) = self.warm().get(name, artefact) {
            return Ok(Some(policy));
        }
        self.load(name, artefact).await
    }

    pub(super) async fn load(
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

    pub(super) async fn load_parts(
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
}
