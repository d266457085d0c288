//! Whether a verified request may use a key: one trait between the gate and whatever decides.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdfast_gate::query::{Decision, Query};
use holdfast_sandbox::SandboxFailure;

/// The future of a decision.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Arc<Decision>, PolicyFailure>> + Send + 'a>>;

/// What the gate asks before it grants a key.
pub trait Policy: Send + Sync {
    /// Decides one query. A failure is never an allow: the gate refuses with InternalException.
    fn decide<'a>(&'a self, query: &'a Query) -> Deciding<'a>;

    /// The same for nobody who waits, and on the calling thread alone: for one that is behind all others.
    fn decide_apart<'a>(&'a self, query: &'a Query) -> Deciding<'a> {
        self.decide(query)
    }

    /// A decision was given up so long after it began. Tells whether that is the policy's failure, which is counted then.
    fn given_up(&self, _after: Duration) -> bool {
        false
    }

    /// What decides, for audit records and logs.
    fn identity(&self) -> &PolicyIdentity;

    /// What happened so far.
    fn metrics(&self) -> PolicyMetrics;
}

/// What decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyIdentity {
    /// SHA-256 of the component, in hexadecimal.
    pub component: String,
    /// SHA-256 over the names and texts of the document's files, in hexadecimal.
    pub revision: String,
    /// What the component calls itself, such as `cedar 4.14.1`.
    pub engine: String,
    /// The ids of the rules, in the document's order.
    pub rules: Vec<String>,
    /// The facts that decisions can depend on, as `wit/policy` names them.
    pub reads: Vec<&'static str>,
}

impl PolicyIdentity {
    /// Whether decisions can be answered from a cache: no fact that they read has another value each time.
    pub fn is_cacheable(&self) -> bool {
        !self.reads.iter().any(|fact| ["time", "kms-request-id", "decrypts"].contains(fact))
    }
}

/// Counters since the policy was loaded, and the size of its cache of decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyMetrics {
    /// Decisions that were answered from the cache.
    pub hits: u64,
    /// Decisions that weren't in the cache.
    pub misses: u64,
    /// Decisions that were dropped from the cache to make room.
    pub evictions: u64,
    /// Decisions in the cache now.
    pub entries: u64,
    /// Bytes of the cache now, roughly.
    pub bytes: u64,
    /// Failures of the sandbox by kind; kinds that never happened are left out.
    pub failures: Vec<(SandboxFailure, u64)>,
}

/// A policy's component gave no decision. The request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy component failed ({}): {detail}", kind.label())]
pub struct PolicyFailure {
    /// What went wrong.
    pub kind: SandboxFailure,
    /// More about it, for the log; never for the client.
    pub detail: String,
}

impl PolicyFailure {
    pub(crate) fn output(detail: impl Into<String>) -> PolicyFailure {
        PolicyFailure { kind: SandboxFailure::Output, detail: detail.into() }
    }
}
