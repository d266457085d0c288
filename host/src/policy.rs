//! Whether a verified request may use a key: one trait between the gate and whatever decides.
//!
//! [`ComponentPolicy`] runs a sandboxed component that exports `holdfast:policy/policy`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::sandbox::SandboxFailure;
use holdfast_gate::query::{Decision, Query};

mod active;
mod artefact;
mod bindings;
mod cache;
mod cases;
mod component;
mod facts;
mod failure;
mod functions;
mod guest;
pub mod life;
mod load;
mod loader;
mod measure;
mod priority;
mod probation;
mod project;
mod question;
mod recorded;
pub mod registry;
mod self_test;
mod shadow;
mod signature;
mod slow;
mod snapshot;
mod stored;
mod strip;
mod unusable;
mod wasi;

pub use active::{Active, Origin, PolicySlot};
pub use artefact::{ARTEFACT_LIMIT, Artefact, ArtefactError, Manifest, artefact_digest};
pub use bindings::fits;
pub use cases::{Case, CaseFailure, CasesError, TestReport, effect_name, read_cases, run_cases};
pub use component::ComponentPolicy;
pub use failure::PolicyFailure;
pub use guest::{Awake, Limits, Sandbox};
pub use load::{Load, LoadError, Problem, Source};
pub use loader::Loader;
pub use measure::{Cost, cached_time, costs, fresh_times, warm_time};
pub use probation::{AutomaticRollback, Failed};
pub use project::{Project, ProjectError};
pub use question::{Question, QuestionError, parse_time};
pub use recorded::{Recorded, RecordedDecision};
pub use shadow::{Difference, Group, Shadow, ShadowCounts};
pub use signature::{SIGNATURE_SUFFIX, SignatureError, TrustedKeys, signer};
pub use wasi::WASI_PACKAGES;

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

#[cfg(test)]
mod tests;
