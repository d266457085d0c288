//! A policy that a sandboxed component decides.

use std::sync::Arc;
use std::time::Duration;

use holdfast_gate::query::{Decision, Effect, Query};
use holdfast_gate::rules::Rules;
use holdfast_sandbox::{FailureCounts, SandboxFailure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::decide::bindings::types;
use crate::decide::cache::DecisionCache;
use crate::decide::facts::{Reads, key};
use crate::decide::failure::LimitReached;
use crate::decide::guest;
use crate::decide::guest::{LEAST_TICKS, Run};
use crate::decide::limits::Limits;
use crate::decide::loaded::Loaded;
use crate::decide::slow::Pace;
use crate::policy::{Deciding, Policy, PolicyFailure, PolicyIdentity, PolicyMetrics};

/// On a busy machine the host itself may have waited.
const LEAST_TIME: Duration = Duration::from_millis(10);
/// A shadow's thread may wait so many times as long as others.
const SHADOWS_PATIENCE: u32 = 10;

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
    /// Decides by what was loaded.
    pub(crate) fn new(loaded: Loaded, limits: &Limits) -> ComponentPolicy {
        let types::Description { engine, reads, rules, messages } = loaded.description.clone();
        let reads = Reads::new(reads);
        ComponentPolicy {
            slots: Arc::new(Semaphore::new(slots(limits, loaded.is_snapshot()))),
            rules: Rules::new(rules.iter().cloned(), messages),
            identity: PolicyIdentity {
                component: loaded.component.clone(),
                revision: loaded.revision.clone(),
                engine,
                rules,
                reads: reads.names(),
            },
            reads,
            cache: DecisionCache::new(limits.cache),
            failures: FailureCounts::default(),
            pace: Pace::new(),
            limits: limits.clone(),
            loaded: Arc::new(loaded),
        }
    }

    /// Whether instances start out configured, from a snapshot.
    pub fn is_snapshot(&self) -> bool {
        self.loaded.is_snapshot()
    }

    /// What instances are made of, and what they are shown.
    pub(crate) fn parts(&self) -> (&Loaded, &Reads) {
        (&self.loaded, &self.reads)
    }

    /// Asks a fresh instance, past the cache.
    pub(crate) async fn evaluate(&self, query: &Query) -> Result<Decision, PolicyFailure> {
        self.evaluate_as(Run::Deciding, query).await
    }

    async fn evaluate_as(&self, what: Run, query: &Query) -> Result<Decision, PolicyFailure> {
        let closed =
            |_| PolicyFailure { kind: SandboxFailure::Busy, detail: "the policy is closed".to_owned() };
        let slot = self.slots.clone().acquire_owned().await.map_err(closed)?;
        // A shadow goes on deciding when no more requests come.
        (self.loaded.awake)();
        let (loaded, reads) = (self.loaded.clone(), self.reads);
        let run = run(loaded, reads, what, self.limits.time, self.limits.output, query.clone(), slot);
        self.check(match what {
            // The threads for slow decisions are those of policies that requests wait for.
            Run::Shadowing => run.await?,
            Run::Loading | Run::Deciding => self.pace.run(Box::pin(run)).await?,
        })
    }

    /// A decision of the cache's, or of a fresh instance.
    fn decide_as<'a>(&'a self, what: Run, query: &'a Query) -> Deciding<'a> {
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
            let decided = self.evaluate_as(what, query).await;
            let decision = Arc::new(decided.inspect_err(|failure| self.failures.count(failure.kind))?);
            if let Some(key) = key {
                self.cache.put(key, decision.clone());
            }
            Ok(decision)
        })
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
    what: Run,
    time: Duration,
    output: usize,
    query: Query,
    _slot: OwnedSemaphorePermit,
) -> Result<types::Decision, PolicyFailure> {
    let mut store = guest::store(&loaded.engine, what, time, loaded.memory, output);
    let decision = async {
        let policy = loaded.instance(&mut store, reads.time(&query)).await?;
        let others = reads.others(&query);
        let view = reads.view(&query, &others);
        policy.holdfast_policy_policy().call_evaluate(&mut store, view).await
    };
    if loaded.is_snapshot() {
        return Ok(decision.await?);
    }
    let patience = if what == Run::Shadowing { time * SHADOWS_PATIENCE } else { time };
    Ok(unless_waiting(patience.max(LEAST_TIME), decision).await?)
}

/// Ends a decision after `time`. A component that waits inside WASI doesn't run, so no tick of the engine's ends it.
///
/// The time is taken in steps, which don't begin before this thread has seen the end of the one before: a decision that
/// had to wait for the thread isn't out of time, as little as one whose ticks nobody saw.
async fn unless_waiting<T>(
    time: Duration,
    decision: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let over = async {
        for _ in 0..LEAST_TICKS {
            tokio::time::sleep(time / LEAST_TICKS).await;
        }
    };
    tokio::select! {
        biased;
        decided = decision => decided,
        () = over => Err(LimitReached::Time(time.as_millis()).into()),
    }
}

/// Instances at a time: those with memory of their own are few.
fn slots(limits: &Limits, snapshot: bool) -> usize {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let instances = limits.instances as usize;
    if snapshot { instances } else { instances.min(threads * 2) }
}

impl Policy for ComponentPolicy {
    fn decide<'a>(&'a self, query: &'a Query) -> Deciding<'a> {
        self.decide_as(Run::Deciding, query)
    }

    fn decide_apart<'a>(&'a self, query: &'a Query) -> Deciding<'a> {
        self.decide_as(Run::Shadowing, query)
    }

    fn given_up(&self, after: Duration) -> bool {
        let late = after >= self.limits.time;
        if late {
            self.failures.count(SandboxFailure::Time);
        }
        late
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

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_decision_that_waits_inside_wasi_ends() {
        let endless = std::future::pending::<wasmtime::Result<()>>();
        let error = unless_waiting(TIME, endless).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(LimitReached::Time(40))), "{error}");
    }

    #[tokio::test]
    async fn a_decision_that_waits_for_its_thread_goes_on() {
        let starved = async {
            // Fewer than the steps that the time is taken in.
            for _ in 0..LEAST_TICKS - 2 {
                std::thread::sleep(TIME);
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        assert!(unless_waiting(TIME, starved).await.is_ok());
    }
}
