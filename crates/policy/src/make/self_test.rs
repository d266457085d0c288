//! Decisions that nobody asked for: they show that a policy decides under the limits of production, and warm it up.

use std::time::Duration;

use holdfast_gate::query::{Operation, Query};

use crate::decide::component::ComponentPolicy;
use crate::make::load::warm_up;
use crate::make::measure::fresh_times;
use crate::policy::PolicyFailure;

/// Decisions, so that a time is more than chance.
const DECISIONS: usize = 24;

impl ComponentPolicy {
    /// Decides about every operation some times, each in a fresh instance; gives the times, sorted.
    ///
    /// # Errors
    /// Where one decision fails.
    pub async fn self_test(&self) -> Result<Vec<Duration>, PolicyFailure> {
        let operations = [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt];
        let queries = operations.map(|operation| Query { operation, ..warm_up() });
        fresh_times(self, &queries, DECISIONS).await
    }

    /// Makes the first instances, so that no request waits for that. That it fails shows when there are requests, too.
    pub async fn warm_up(&self) {
        for operation in [Operation::Encrypt, Operation::Decrypt] {
            let _ = self.evaluate(&Query { operation, ..warm_up() }).await;
        }
    }
}
