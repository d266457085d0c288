//! Telling the audit log of changes.

use std::sync::{Arc, PoisonError};

use crate::life::change::{Change, Record, RecordError, TIME, Told};
use crate::life::error::LifeError;
use crate::life::lifecycle::Lifecycle;

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
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RecordError::Refused("the host failed at it; see its log".to_owned())),
            Err(_) => Err(RecordError::Late),
        }
    }
}
