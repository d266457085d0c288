//! Changes of policy in the audit log.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LifeError, Lifecycle};
use crate::audit::AuditError;
use crate::policy::registry::Cause;

/// For what the audit log is told of a change. Nobody can look at the policies or change them meanwhile, so an audit log
/// that hangs must not be waited for.
const TIME: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(3) };

/// A change of policy, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose policy.
    pub key_store: String,
    /// The activation's number.
    pub activation: u64,
    /// What decides now; `None`: the configuration's policy.
    pub artefact: Option<String>,
    /// What brought it about.
    pub cause: Cause,
    /// Who.
    pub by: String,
}

/// What the audit log is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is about to be made.
    Coming(Change),
    /// It was told of, and wasn't made.
    NotMade {
        /// Which.
        change: Change,
        /// Why.
        reason: String,
    },
}

/// Writes into the audit log what becomes of changes.
pub type Record = Box<dyn Fn(Told) -> Recording + Send + Sync>;
/// The future of a [`Record`].
pub type Recording = std::pin::Pin<Box<dyn Future<Output = Result<(), AuditError>> + Send>>;

/// Why the audit log doesn't have a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It says so.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It says nothing.
    #[error(
        "the audit log didn't take the record within {} s; mend what it is written to, which hangs, and try again",
        TIME.as_secs()
    )]
    Late,
}

impl Lifecycle {
    /// Where changes are recorded from now on.
    pub fn record_by(&self, record: Record) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(record));
    }

    /// Tells the audit log of all changes, or of none, and gives what it was told of. A change that must be made is made
    /// without, too: a policy that fails must not stay because the log can't be written either.
    pub(super) async fn announce(&self, changes: &[Change], must: bool) -> Result<Vec<Change>, LifeError> {
        let mut told = Vec::new();
        for change in changes {
            match self.tell(vec![Told::Coming(change.clone())]).await {
                Ok(()) => told.push(change.clone()),
                Err(error) if must => {
                    tracing::error!(%error, "the automatic rollback isn't in the audit log");
                }
                Err(error) => {
                    // This one may be there too: a write may fail after its line.
                    told.push(change.clone());
                    self.take_back(&told, &error).await;
                    return Err(LifeError::Audit(error));
                }
            }
        }
        Ok(told)
    }

    /// Tells the audit log that changes weren't made that it was told of.
    pub(super) async fn take_back(&self, changes: &[Change], why: &(dyn std::error::Error + Sync)) {
        let mut told = Vec::new();
        for change in changes {
            told.push(Told::NotMade { change: change.clone(), reason: why.to_string() });
        }
        if let Err(error) = self.tell(told).await {
            let key_stores: Vec<&str> = changes.iter().map(|change| change.key_store.as_str()).collect();
            tracing::error!(
                ?key_stores, %error,
                "the audit log has a change of policy that wasn't made, and can't be told so yet"
            );
        }
    }

    /// Gives up waiting after a while, but not the records: an audit log that works again has them in their order.
    async fn tell(&self, told: Vec<Told>) -> Result<(), RecordError> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(record) = record else { return Ok(()) };
        // A task of its own also because a write to a disk that hangs doesn't let go of its thread.
        let telling = tokio::spawn(async move {
            let mut result = Ok(());
            for told in told {
                result = record(told).await.and(result);
            }
            result
        });
        match tokio::time::timeout(TIME, telling).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(AuditError::Closed.into()),
            Err(_) => Err(RecordError::Late),
        }
    }
}
