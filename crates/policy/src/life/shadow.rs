//! A candidate that decides beside the active policy, on the same requests, without counting.
//!
//! Requests leave their query and decision in a bounded queue and go on. One thread of low priority decides them again,
//! one after the other; what doesn't fit into the queue is counted and left out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_gate::query::{Arn, Decision, Effect, Identity, Query};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::policy::Policy;
use holdfast_sandbox::priority;

/// Queries that wait for the candidate.
const QUEUE: usize = 1024;
/// The candidate's thread looks at the queue so often: one that waited for it would have to be woken by each request.
const PAUSE: Duration = Duration::from_millis(2);
/// Different differences that are told apart; all others are counted together.
const GROUPS: usize = 256;

/// How a candidate's decision compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The same effect by the same rules.
    Same,
    /// The same effect by other rules.
    OtherRules,
    /// What is allowed now would be denied.
    WouldDeny,
    /// What is denied now would be allowed.
    WouldAllow,
    /// The candidate failed where the active policy decided.
    WouldFail,
    /// The candidate decided where the active policy failed.
    WouldDecide,
}

impl Difference {
    /// All of them.
    pub const ALL: [Difference; 6] = [
        Difference::Same,
        Difference::OtherRules,
        Difference::WouldDeny,
        Difference::WouldAllow,
        Difference::WouldFail,
        Difference::WouldDecide,
    ];

    /// A word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Difference::Same => "same",
            Difference::OtherRules => "other-rules",
            Difference::WouldDeny => "would-deny",
            Difference::WouldAllow => "would-allow",
            Difference::WouldFail => "would-fail",
            Difference::WouldDecide => "would-decide",
        }
    }
}

/// Requests that differ in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// How.
    pub difference: Difference,
    /// Of the request.
    pub operation: String,
    /// The external key id.
    pub key_id: String,
    /// The role's name, else the principal without session.
    pub principal: String,
    /// Of the active policy.
    pub rules: Vec<String>,
    /// Of the candidate.
    pub candidate_rules: Vec<String>,
}

/// What a shadow has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// By name; those that never happened are 0.
    pub decisions: BTreeMap<String, u64>,
    /// Queries that found the queue full.
    pub dropped: u64,
    /// The differences with how often each happened, the most frequent first.
    pub groups: Vec<(Group, u64)>,
    /// Differences beyond those.
    pub other: u64,
}

/// A candidate and its queue. The thread ends when this is dropped.
pub struct Shadow {
    /// The candidate's artefact.
    pub artefact: String,
    queue: mpsc::Sender<(Query, Option<Arc<Decision>>)>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    counts: [AtomicU64; Difference::ALL.len()],
    dropped: AtomicU64,
    /// Nobody is interested any more.
    ended: AtomicBool,
    groups: Mutex<(BTreeMap<Group, u64>, u64)>,
}

impl Shadow {
    /// Starts the candidate's thread.
    pub(crate) fn start(
        key_store: &str,
        artefact: &str,
        candidate: Arc<dyn Policy>,
    ) -> std::io::Result<Shadow> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let seen = Arc::new(Seen::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (of_thread, key_store, digest) = (seen.clone(), key_store.to_owned(), artefact.to_owned());
        std::thread::Builder::new().name("shadow".into()).spawn(move || {
            priority::behind_everything();
            runtime.block_on(of_thread.compare(waiting, candidate.as_ref(), &key_store, &digest));
        })?;
        Ok(Shadow { artefact: artefact.to_owned(), queue, seen })
    }

    /// Leaves a query and what was decided (nothing where the active policy failed) for the candidate.
    pub(crate) fn offer(&self, query: Query, decided: Option<Arc<Decision>>) {
        if self.queue.try_send((query, decided)).is_err() {
            self.seen.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a comparison came out so.
    pub fn count(&self, difference: Difference) -> u64 {
        self.seen.counts.get(difference as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Queries that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.seen.dropped.load(Ordering::Relaxed)
    }

    /// Everything that was counted.
    pub fn counts(&self) -> ShadowCounts {
        let decisions =
            Difference::ALL.map(|difference| (difference.name().to_owned(), self.count(difference)));
        let seen = self.seen.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<_> = seen.0.iter().map(|(group, count)| (group.clone(), *count)).collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ShadowCounts { decisions: decisions.into(), dropped: self.dropped(), groups, other: seen.1 }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    async fn compare(
        &self,
        mut waiting: mpsc::Receiver<(Query, Option<Arc<Decision>>)>,
        candidate: &dyn Policy,
        key_store: &str,
        artefact: &str,
    ) {
        loop {
            let (query, decided) = match waiting.try_recv() {
                Ok(waiting) => waiting,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            // Requests' threads of this processor come first (see `slow`).
            std::thread::yield_now();
            let candidate = candidate.decide_apart(&query).await.ok();
            let difference = compare(decided.as_deref(), candidate.as_deref());
            if let Some(counter) = self.counts.get(difference as usize) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            if difference == Difference::Same {
                continue;
            }
            let rules = |decision: Option<&Decision>| decision.map_or_else(Vec::new, |d| d.rules.clone());
            let group = Group {
                difference,
                operation: query.operation.name().to_owned(),
                key_id: query.key_id,
                principal: principal(&query.principal, &query.principal_text),
                rules: rules(decided.as_deref()),
                candidate_rules: rules(candidate.as_deref()),
            };
            // The first of its kind; how many there are is metered, and `holdfast policy status` tells it.
            if self.group(&group) && difference != Difference::OtherRules {
                tracing::warn!(
                    key_store,
                    artefact,
                    difference = difference.name(),
                    operation = group.operation,
                    key_id = group.key_id,
                    principal = group.principal,
                    rules = ?group.rules,
                    candidate_rules = ?group.candidate_rules,
                    kms_request_id = query.kms_request_id,
                    "the shadow policy decides otherwise"
                );
            }
        }
    }

    /// Counts a difference, and tells whether it is the first of its kind.
    fn group(&self, group: &Group) -> bool {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, other) = &mut *groups;
        if let Some(count) = known.get_mut(group) {
            *count += 1;
            return false;
        }
        if known.len() >= GROUPS {
            *other += 1;
            return false;
        }
        known.insert(group.clone(), 1);
        true
    }
}

fn compare(active: Option<&Decision>, candidate: Option<&Decision>) -> Difference {
    let allows = |decision: &Decision| decision.effect == Effect::Allow && decision.errors.is_empty();
    match (active, candidate) {
        (None, None) => Difference::Same,
        (Some(_), None) => Difference::WouldFail,
        (None, Some(_)) => Difference::WouldDecide,
        (Some(active), Some(candidate)) => match (allows(active), allows(candidate)) {
            (true, false) => Difference::WouldDeny,
            (false, true) => Difference::WouldAllow,
            _ if active.rules == candidate.rules => Difference::Same,
            _ => Difference::OtherRules,
        },
    }
}

/// Sessions come and go; what they are sessions of stays.
fn principal(identity: &Identity, text: &str) -> String {
    match identity {
        Identity::Arn(Arn { account, role: Some(role), .. }) => format!("{account}/{role}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::load::warm_up;
    use crate::policy::{Deciding, PolicyIdentity, PolicyMetrics};

    fn decision(effect: Effect, rule: &str, errors: usize) -> Decision {
        let errors = vec!["an error".to_owned(); errors];
        Decision { effect, rules: vec![rule.to_owned()], errors, message: None }
    }

    #[test]
    fn decisions_are_compared_by_what_comes_of_them() {
        let allow = decision(Effect::Allow, "a", 0);
        let by_other = decision(Effect::Allow, "b", 0);
        let deny = decision(Effect::Deny, "a", 0);
        let erring = decision(Effect::Allow, "a", 1);
        for (active, candidate, expected) in [
            (Some(&allow), Some(&allow), Difference::Same),
            (Some(&allow), Some(&by_other), Difference::OtherRules),
            (Some(&allow), Some(&deny), Difference::WouldDeny),
            (Some(&allow), Some(&erring), Difference::WouldDeny),
            (Some(&deny), Some(&allow), Difference::WouldAllow),
            (Some(&erring), Some(&deny), Difference::Same),
            (Some(&deny), None, Difference::WouldFail),
            (None, Some(&deny), Difference::WouldDecide),
            (None, None, Difference::Same),
        ] {
            assert_eq!(compare(active, candidate), expected);
        }
    }

    #[test]
    fn different_differences_are_told_apart_up_to_a_bound() {
        let seen = Seen::default();
        let group = |key: usize| Group {
            difference: Difference::WouldDeny,
            operation: "Encrypt".to_owned(),
            key_id: key.to_string(),
            principal: String::new(),
            rules: Vec::new(),
            candidate_rules: Vec::new(),
        };
        for key in 0..GROUPS + 10 {
            assert_eq!(seen.group(&group(key)), key < GROUPS);
            assert!(!seen.group(&group(0)));
        }
        let groups = seen.groups.lock().unwrap();
        assert_eq!((groups.0.len(), groups.1), (GROUPS, 10));
        assert_eq!(groups.0[&group(0)], (GROUPS + 10) as u64 + 1);
    }
    /// Decides only apart from requests.
    struct Apart(PolicyIdentity);

    impl Policy for Apart {
        fn decide<'a>(&'a self, _: &'a Query) -> Deciding<'a> {
            Box::pin(std::future::pending())
        }

        fn decide_apart<'a>(&'a self, _: &'a Query) -> Deciding<'a> {
            Box::pin(std::future::ready(Ok(Arc::new(decision(Effect::Allow, "a", 0)))))
        }

        fn identity(&self) -> &PolicyIdentity {
            &self.0
        }

        fn metrics(&self) -> PolicyMetrics {
            PolicyMetrics::default()
        }
    }

    #[test]
    fn the_candidate_decides_apart_from_requests() {
        let shadow = Shadow::start("demo", "artefact", Arc::new(Apart(PolicyIdentity::default()))).unwrap();
        shadow.offer(warm_up(), Some(Arc::new(decision(Effect::Allow, "a", 0))));
        let begun = std::time::Instant::now();
        while shadow.count(Difference::Same) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it decides as requests do");
            std::thread::yield_now();
        }
    }
}
