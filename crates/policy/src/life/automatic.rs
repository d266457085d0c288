//! Going back without being told to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::life::activate::Activated;
use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;
use crate::life::probation::Failed;
use crate::life::registry::Cause;

/// After so long a rollback that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Goes back because of too many failing decisions, if what failed is still in force.
    pub async fn roll_back_failed(&self, failed: &Failed) -> Result<Option<Activated>, LifeError> {
        let state = self.registry.lock().await.state().clone();
        if state.active(&failed.key_store).is_none_or(|active| active.number != failed.activation) {
            return Ok(None);
        }
        let name = &failed.key_store;
        // Nobody is asked, so one that isn't trusted any more is left out as one that failed is.
        let before = self.before(&state, name, |artefact| self.check_trust(&state, artefact).is_ok())?;
        self.put_in_force(vec![(name.clone(), before)], "holdfast", Cause::AutomaticRollback, Some(failed))
            .await
            .map(Some)
    }
}

/// Takes failing policies back, as their probations tell. Never ends while the host runs.
pub async fn keep_rolling_back(lifecycle: Arc<Lifecycle>, failing: mpsc::UnboundedReceiver<Failed>) {
    let go_back = |failed| {
        let lifecycle = lifecycle.clone();
        async move { lifecycle.try_to_go_back(failed).await }
    };
    keep_trying(failing, AGAIN, go_back).await;
}

/// Tries at once, and every `again` what `go_back` returns to be tried again: probations tell only once.
async fn keep_trying<F: Future<Output = Option<Failed>>>(
    mut failing: mpsc::UnboundedReceiver<Failed>,
    again: Duration,
    go_back: impl Fn(Failed) -> F,
) {
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            told = failing.recv() => match told {
                Some(failed) => waiting.push(failed),
                None => return,
            },
            () = tokio::time::sleep(again), if !waiting.is_empty() => {}
        }
        for failed in std::mem::take(&mut waiting) {
            waiting.extend(go_back(failed).await);
        }
    }
}

impl Lifecycle {
    /// Gives it back where it is to be tried again.
    async fn try_to_go_back(&self, failed: Failed) -> Option<Failed> {
        let Failed { key_store, activation, failures, .. } = &failed;
        tracing::error!(key_store, activation, failures, "the activated policy fails too often: going back");
        match self.roll_back_failed(&failed).await {
            Ok(Some(_)) => tracing::error!(
                key_store,
                activation,
                "AUTOMATIC ROLLBACK: the policy before it is in force again; `holdfast policy history` tells more"
            ),
            Ok(None) => {}
            Err(error @ LifeError::NothingBefore(_)) => tracing::error!(
                key_store,
                activation,
                %error,
                "the failing policy STAYS in force, as there is no going back; activate another one"
            ),
            Err(error) => {
                tracing::error!(
                    key_store,
                    activation,
                    %error,
                    "GOING BACK FAILED, so the failing policy is still in force; it is tried again in {} s, or activate \
                     another one",
                    AGAIN.as_secs()
                );
                return Some(failed);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_rollback_that_fails_is_tried_until_it_is_over_and_holds_up_no_other() {
        let (sender, failing) = mpsc::unbounded_channel();
        for key_store in ["disk-is-full", "fine"] {
            let after = Duration::ZERO;
            let key_store = key_store.to_owned();
            sender.send(Failed { key_store, activation: 1, failures: 1, after }).unwrap();
        }
        let (tries, fine) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let trying = keep_trying(failing, Duration::from_millis(1), |failed: Failed| {
            let is_fine = failed.key_store == "fine";
            let count = if is_fine { &fine } else { &tries };
            let before = count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Some(failed).filter(|_| !is_fine && before < 3))
        });
        assert!(tokio::time::timeout(Duration::from_secs(3), trying).await.is_err(), "it never ends");
        assert_eq!((tries.into_inner(), fine.into_inner()), (4, 1));
        drop(sender);
    }
}
