//! The record of a request, as the native host knows it; its form is `holdfast_gate::record`'s.

use crate::gate::Trace;
use holdfast_gate::ErrorName;
pub(super) use holdfast_gate::record::Line;
use holdfast_gate::record::{self, Record};
use holdfast_policy::life::Origin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the server knows at the end.
pub struct Finished<'a> {
    /// The key store's name.
    pub key_store: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Of an error.
    pub error: Option<ErrorName>,
    /// When the head was read.
    pub received: SystemTime,
    /// Since then.
    pub took: Duration,
    /// Of the client's certificate.
    pub tls_peer: Option<&'a str>,
    /// The client's address.
    pub client: &'a str,
    /// Digest of the proxy component.
    pub proxy: &'a str,
    /// Digest of the sigv4 component.
    pub sigv4: &'a str,
}

/// One line, with its line feed.
pub fn record(trace: &Trace, finished: &Finished<'_>) -> String {
    let policy = trace.asked.as_ref().map(|active| {
        let identity = active.policy.identity();
        let activation = match &active.origin {
            Origin::Activation { number, artefact } => Some((artefact.as_str(), *number)),
            Origin::Configuration => None,
        };
        record::Policy { component: &identity.component, revision: &identity.revision, activation }
    });
    // The configuration's policy, where it can't be loaded: there is nothing to tell of it.
    let policy = policy.filter(|policy| !policy.component.is_empty() || policy.activation.is_some());
    Record {
        trace: &trace.known,
        received: milliseconds(finished.received),
        key_store: finished.key_store,
        client: Some(finished.client),
        tls_peer: finished.tls_peer,
        policy,
        status: finished.status,
        error: finished.error,
        microseconds: u64::try_from(finished.took.as_micros()).unwrap_or(u64::MAX),
        components: Some((finished.proxy, finished.sigv4)),
    }
    .line()
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` (RFC 3339).
pub(super) fn rfc3339(time: SystemTime) -> String {
    record::rfc3339(milliseconds(time))
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
