//! A policy that a sandboxed component decides.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::sandbox::{FailureCounts, SandboxFailure};
use holdfast_gate::query::{Decision, Effect, Query};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use super::bindings::{PolicyEnginePre, types};
use super::cache::DecisionCache;
use super::facts::{Reads, key};
use super::failure::PolicyFailure;
use super::guest::{self, Bounds, Limits, Run};
use super::load::{Load, LoadError};
use super::{Deciding, Policy, PolicyIdentity, PolicyMetrics};

/// Of a text of the component's, in a log line.
const LOGGED_CHARACTERS: usize = 64;

/// A component that has read its document. Each decision that isn't cached runs in a fresh instance.
pub struct ComponentPolicy {
    engine: Engine,
    instances: PolicyEnginePre<Bounds>,
    slots: Semaphore,
    limits: Limits,
    identity: PolicyIdentity,
    rules: HashSet<String>,
    messages: HashMap<String, String>,
    reads: Reads,
    cache: DecisionCache,
    failures: FailureCounts,
}

impl ComponentPolicy {
    /// Loads a component and its document.
    ///
    /// # Errors
    /// Where the component isn't one for policies or wants to import something, and where the document has problems.
    pub async fn load(load: Load<'_>) -> Result<ComponentPolicy, LoadError> {
        let loaded = load.run().await?;
        let types::Description { engine, reads, rules, messages } = loaded.description;
        let reads = Reads::new(reads);
        Ok(ComponentPolicy {
            engine: loaded.engine,
            instances: loaded.instances,
            slots: Semaphore::new(load.limits.instances as usize),
            rules: rules.iter().cloned().collect(),
            identity: PolicyIdentity {
                component: loaded.component,
                revision: loaded.revision,
                engine,
                rules,
                reads: reads.names(),
            },
            messages: messages.into_iter().collect(),
            reads,
            cache: DecisionCache::new(load.limits.cache),
            failures: FailureCounts::default(),
            limits: load.limits,
        })
    }

    /// Asks a fresh instance.
    async fn evaluate(&self, query: &Query) -> Result<Decision, PolicyFailure> {
        let closed =
            |_| PolicyFailure { kind: SandboxFailure::Busy, detail: "the policy is closed".to_owned() };
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let Limits { time, memory, output, .. } = self.limits;
        let mut store = guest::store(&self.engine, Run::Deciding, time, memory, output);
        let policy = self.instances.instantiate_async(&mut store).await?;
        let others = self.reads.others(query);
        let view = self.reads.view(query, &others);
        let decision = policy.holdfast_policy_policy().call_evaluate(&mut store, view).await?;
        self.check(decision)
    }

    /// Takes a decision only if it is one of this document, and denies where there were errors.
    fn check(&self, decision: types::Decision) -> Result<Decision, PolicyFailure> {
        let types::Decision { effect, rules, errors } = decision;
        if rules.len() > self.rules.len() {
            return Err(PolicyFailure::output("it named more rules than it has"));
        }
        if let Some(rule) = rules.iter().find(|rule| !self.rules.contains(*rule)) {
            let rule: String = rule.chars().take(LOGGED_CHARACTERS).collect();
            return Err(PolicyFailure::output(format!("it named the rule {rule:?}, which it doesn't have")));
        }
        let effect = match effect {
            types::Effect::Allow if errors.is_empty() => Effect::Allow,
            _ => Effect::Deny,
        };
        let message = match effect {
            // A rule that failed didn't decide what its message says.
            Effect::Deny if errors.is_empty() => rules.iter().find_map(|rule| self.messages.get(rule).cloned()),
            _ => None,
        };
        Ok(Decision { effect, rules, errors, message })
    }
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
