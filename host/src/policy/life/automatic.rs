//! Going back without being told to.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Activated, LifeError, Lifecycle};
use crate::policy::Failed;
use crate::policy::registry::{Cause, State};

impl Lifecycle {
    /// Goes back because of too many failing decisions, if what failed is still in force.
    pub async fn roll_back_failed(&self, failed: &Failed) -> Result<Option<Activated>, LifeError> {
        let state = self.registry.lock().await.state().clone();
        if state.active(&failed.key_store).is_none_or(|active| active.number != failed.activation) {
            return Ok(None);
        }
        let name = &failed.key_store;
        let before = self.before(&state, name)?;
        self.put_in_force(vec![(name.clone(), before)], "holdfast", Cause::AutomaticRollback, Some(failed))
            .await
            .map(Some)
    }
}

/// So that nobody goes back to it.
pub(super) fn mark_failed(state: &mut State, failed: &Failed) {
    let activations = state.key_stores.get_mut(&failed.key_store).map(|known| &mut known.activations);
    let found = activations.and_then(|all| all.iter_mut().find(|a| a.number == failed.activation));
    if let Some(activation) = found {
        activation.failed =
            Some(format!("{} failing decisions within {:.1?}", failed.failures, failed.after));
    }
}

/// Takes failing policies back, as their probations tell. Never ends while the host runs.
pub async fn keep_rolling_back(lifecycle: Arc<Lifecycle>, mut failing: mpsc::UnboundedReceiver<Failed>) {
    while let Some(failed) = failing.recv().await {
        let Failed { key_store, activation, failures, .. } = &failed;
        tracing::error!(key_store, activation, failures, "the activated policy fails too often: going back");
        match lifecycle.roll_back_failed(&failed).await {
            Ok(Some(_)) => tracing::error!(
                key_store,
                activation,
                "AUTOMATIC ROLLBACK: the policy before it is in force again; `holdfast policy history` tells more"
            ),
            Ok(None) => {}
            Err(error) => tracing::error!(
                key_store,
                activation,
                %error,
                "the failing policy STAYS in force, as there is no going back; activate another one"
            ),
        }
    }
}
