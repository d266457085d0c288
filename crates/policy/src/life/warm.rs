//! Policies that are loaded and not in force: staged ones, and those that one may go back to.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::decide::component::ComponentPolicy;

/// Policies of each key store that are kept loaded. Each takes its compiled code's size, some megabytes.
const KEPT: usize = 3;

/// The policies, the latest last.
#[derive(Default)]
pub(super) struct Warm(VecDeque<(String, Option<String>, Arc<ComponentPolicy>)>);

impl Warm {
    /// The policy of this artefact (`None`: the configuration's) for this key store.
    pub(super) fn get(&self, key_store: &str, artefact: Option<&str>) -> Option<Arc<ComponentPolicy>> {
        let found =
            self.0.iter().find(|(name, digest, _)| name == key_store && digest.as_deref() == artefact);
        found.map(|(.., policy)| policy.clone())
    }

    /// Keeps a policy; the key store's oldest goes where there are too many.
    pub(super) fn put(&mut self, key_store: &str, artefact: Option<&str>, policy: Arc<ComponentPolicy>) {
        self.0.retain(|(name, digest, _)| name != key_store || digest.as_deref() != artefact);
        self.0.push_back((key_store.to_owned(), artefact.map(str::to_owned), policy));
        let mut surplus = self.0.iter().filter(|(name, ..)| name == key_store).count().saturating_sub(KEPT);
        self.0.retain(|(name, ..)| {
            let goes = surplus > 0 && name == key_store;
            surplus -= usize::from(goes);
            !goes
        });
    }
}
