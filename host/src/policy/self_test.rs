//! Decisions that nobody asked for: they show that a policy decides under the limits of production, and warm it up.

use std::time::{Duration, Instant};

use holdfast_gate::query::{Operation, Query};

use super::load::warm_up;
use super::{ComponentPolicy, PolicyFailure};

/// Decisions of each operation, so that a time is more than chance.
const ROUNDS: usize = 8;

impl ComponentPolicy {
    /// Decides about every operation some times, each in a fresh instance; gives the times, in order.
    ///
    /// # Errors
    /// Where one decision fails.
    pub async fn self_test(&self) -> Result<Vec<Duration>, PolicyFailure> {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            for operation in [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt] {
                let query = Query { operation, ..warm_up() };
                let begun = Instant::now();
                self.evaluate(&query).await?;
                times.push(begun.elapsed());
            }
        }
        Ok(times)
    }

    /// Makes the first instances, so that no request waits for that. That it fails shows when there are requests, too.
    pub async fn warm_up(&self) {
        for operation in [Operation::Encrypt, Operation::Decrypt] {
            let _ = self.evaluate(&Query { operation, ..warm_up() }).await;
        }
    }
}
