//! A policy that a sandboxed component decides.

use std::sync::Arc;
use std::time::Duration;

use crate::sandbox::{FailureCounts, SandboxFailure};
use holdfast_gate::query::{Decision, Effect, Query};
use holdfast_gate::rules::Rules;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bindings::types;
use super::cache::DecisionCache;
use super::facts::{Reads, key};
use super::failure::{LimitReached, PolicyFailure};
use super::guest::{self, Limits, Run};
use super::load::{Load, LoadError, Loaded};
use super::slow::Pace;
use super::{Deciding, Policy, PolicyIdentity, PolicyMetrics};

/// On a busy machine the host itself may have waited.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// A component that has read its document. Each decision that isn't cached runs in a fresh instance.
pub struct ComponentPolicy {
    loaded: Arc<Loaded>,
    slots: Arc<Semaphore>,
    limits: Limits,
    identity: PolicyIdentity,
    rules: Rules,
    reads: Reads,
    cache: DecisionCache,
    failures: FailureCounts,
    pace: Pace,
}

impl ComponentPolicy {
    /// Loads a component and its document.
    ///
    /// # Errors
    /// Where the component isn't one for policies or wants to import something, and where the document has problems.
    pub async fn load(load: Load<'_>) -> Result<ComponentPolicy, LoadError> {
        let loaded = load.run().await?;
        let types::Description { engine, reads, rules, messages } = loaded.description.clone();
        let reads = Reads::new(reads);
        Ok(ComponentPolicy {
            slots: Arc::new(Semaphore::new(slots(&load.limits, loaded.is_snapshot()))),
            rules: Rules::new(rules.iter().cloned(), messages),
            identity: PolicyIdentity {
                component: loaded.component.clone(),
                revision: loaded.revision.clone(),
                engine,
                rules,
                reads: reads.names(),
            },
            reads,
            cache: DecisionCache::new(load.limits.cache),
            failures: FailureCounts::default(),
            pace: Pace::new(),
            limits: load.limits,
            loaded: Arc::new(loaded),
        })
    }

    /// Whether instances start out configured, from a snapshot.
    pub fn is_snapshot(&self) -> bool {
        self.loaded.is_snapshot()
    }

    /// What instances are made of, and what they are shown.
    pub(super) fn parts(&self) -> (&Loaded, &Reads) {
        (&self.loaded, &self.reads)
    }

    /// Asks a fresh instance, past the cache.
    pub(super) async fn evaluate(&self, query: &Query) -> Result<Decision, PolicyFailure> {
        let closed =
            |_| PolicyFailure { kind: SandboxFailure::Busy, detail: "the policy is closed".to_owned() };
        let slot = self.slots.clone().acquire_owned().await.map_err(closed)?;
        let (loaded, reads) = (self.loaded.clone(), self.reads);
        let run = run(loaded, reads, self.limits.time, self.limits.output, query.clone(), slot);
        self.check(self.pace.run(Box::pin(run)).await?)
    }

    /// Takes a decision only if it is one of this document.
    fn check(&self, decision: types::Decision) -> Result<Decision, PolicyFailure> {
        let types::Decision { effect, rules, errors } = decision;
        let effect = match effect {
            types::Effect::Allow => Effect::Allow,
            types::Effect::Deny => Effect::Deny,
        };
        let decision = self.rules.decision(effect, rules, errors);
        decision.map_err(|fault| PolicyFailure::output(fault.to_string()))
    }
}

/// Has a fresh instance decide. It owns what it needs, so that it can go on wherever there is room.
async fn run(
    loaded: Arc<Loaded>,
    reads: Reads,
    time: Duration,
    output: usize,
    query: Query,
    _slot: OwnedSemaphorePermit,
) -> Result<types::Decision, PolicyFailure> {
    let mut store = guest::store(&loaded.engine, Run::Deciding, time, loaded.memory, output);
    let decision = async {
        let policy = loaded.instance(&mut store, reads.time(&query)).await?;
        let others = reads.others(&query);
        let view = reads.view(&query, &others);
        policy.holdfast_policy_policy().call_evaluate(&mut store, view).await
    };
    if loaded.is_snapshot() {
        return Ok(decision.await?);
    }
    // A component that waits inside WASI doesn't run, so no tick ends it.
    let late = |_| PolicyFailure::from(wasmtime::Error::from(LimitReached::Time(time.as_millis())));
    Ok(tokio::time::timeout(time.max(LEAST_TIME), decision).await.map_err(late)??)
}

/// Instances at a time: those with memory of their own are few.
fn slots(limits: &Limits, snapshot: bool) -> usize {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let instances = limits.instances as usize;
    if snapshot { instances } else { instances.min(threads * 2) }
}

impl Policy for ComponentPolicy {
    fn decide<'a>(&'a self, query: &'a Query) -> Deciding<'a> {
        let key = if self.reads.repeat() {
            let key = key(&self.reads.view(query, &self.reads.others(query)));
            if let Some(decision) = self.cache.get(&key) {
                return Box::pin(std::future::ready(Ok(decision)));
            }
            Some(key)
        } else {
            self.cache.miss();
            None
        };
        Box::pin(async move {
            let decided = self.evaluate(query).await;
            let decision = Arc::new(decided.inspect_err(|failure| self.failures.count(failure.kind))?);
            if let Some(key) = key {
                self.cache.put(key, decision.clone());
            }
            Ok(decision)
        })
    }

    fn identity(&self) -> &PolicyIdentity {
        &self.identity
    }

    fn metrics(&self) -> PolicyMetrics {
        let failures = self.failures.iter().filter(|(_, count)| *count > 0).collect();
        let mut metrics = PolicyMetrics { failures, ..PolicyMetrics::default() };
        self.cache.measure(&mut metrics);
        metrics
    }
}
