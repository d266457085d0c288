//! What would change, counted and grouped.

use std::collections::HashMap;

use holdfast_gate::query::{Decision, Effect, Identity, Query};
use serde::Serialize;

use holdfast_policy::PolicyFailure;
use holdfast_policy::artefact::RecordedDecision;

/// Groups that are told apart; what comes after is counted, but in no group.
const GROUPS: usize = 10_000;

/// Decisions that change in the same way.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// `allow -> deny`, `deny -> allow`, `allow -> failure` or `deny -> failure`.
    pub change: &'static str,
    /// Key store and key.
    pub key: String,
    /// A role by account and name, or else what the record says.
    pub principal: String,
    /// Of the request.
    pub operation: &'static str,
    /// The rules that decided then.
    pub before: Vec<String>,
    /// The rules that decide now; of a failure, its kind.
    pub after: Vec<String>,
    /// The kmsRequestId of the first.
    pub example: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    change: &'static str,
    key: String,
    principal: String,
    operation: &'static str,
    before: Vec<String>,
    after: Vec<String>,
}

/// Of all records, or of those that one thread replayed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Lines that were chosen.
    pub records: u64,
    /// Of them, what a policy decided then and now.
    pub decisions: u64,
    /// Lines that aren't JSON.
    pub unreadable: u64,
    /// Records of requests that no policy decided.
    pub undecided: u64,
    /// The same answer by the same rules.
    pub same: u64,
    /// The same answer by other rules.
    pub other_rules: u64,
    /// Denied then.
    pub now_allowed: u64,
    /// Allowed then.
    pub now_denied: u64,
    /// The component fails, which refuses.
    pub now_failing: u64,
    groups: HashMap<Kind, (u64, String)>,
}

impl Changes {
    /// Answers that would be others.
    pub fn changed(&self) -> u64 {
        self.now_allowed + self.now_denied + self.now_failing
    }

    /// Takes one decision in.
    pub fn add(&mut self, query: &Query, then: &RecordedDecision, now: Result<&Decision, &PolicyFailure>) {
        self.decisions += 1;
        let (change, after) = match (then.effect, now) {
            (then_effect, Ok(decision)) if then_effect == decision.effect => {
                if then.rules == decision.rules {
                    self.same += 1;
                } else {
                    self.other_rules += 1;
                }
                return;
            }
            (Effect::Allow, Ok(decision)) => {
                self.now_denied += 1;
                ("allow -> deny", decision.rules.clone())
            }
            (Effect::Deny, Ok(decision)) => {
                self.now_allowed += 1;
                ("deny -> allow", decision.rules.clone())
            }
            (effect, Err(failure)) => {
                self.now_failing += 1;
                let change = if effect == Effect::Allow { "allow -> failure" } else { "deny -> failure" };
                (change, vec![failure.kind.label().to_owned()])
            }
        };
        let kind = Kind {
            change,
            key: format!("{}/{}", query.key_store, query.key_id),
            principal: principal(query),
            operation: query.operation.name(),
            before: then.rules.clone(),
            after,
        };
        self.count(kind, 1, &query.kms_request_id);
    }

    fn count(&mut self, kind: Kind, count: u64, example: &str) {
        if let Some((known, _)) = self.groups.get_mut(&kind) {
            *known += count;
        } else if self.groups.len() < GROUPS {
            self.groups.insert(kind, (count, example.to_owned()));
        }
    }

    /// Adds what another thread found.
    pub fn merge(&mut self, other: Changes) {
        self.records += other.records;
        self.decisions += other.decisions;
        self.unreadable += other.unreadable;
        self.undecided += other.undecided;
        self.same += other.same;
        self.other_rules += other.other_rules;
        self.now_allowed += other.now_allowed;
        self.now_denied += other.now_denied;
        self.now_failing += other.now_failing;
        for (kind, (count, example)) in other.groups {
            self.count(kind, count, &example);
        }
    }

    /// The largest first.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .groups
            .iter()
            .map(|(kind, (count, example))| {
                let Kind { change, key, principal, operation, before, after } = kind.clone();
                Group {
                    count: *count,
                    change,
                    key,
                    principal,
                    operation,
                    before,
                    after,
                    example: example.clone(),
                }
            })
            .collect();
        groups.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| (&a.key, &a.principal, a.change).cmp(&(&b.key, &b.principal, b.change)))
        });
        groups
    }
}

/// Roles without their sessions, so that they make one group.
fn principal(query: &Query) -> String {
    match &query.principal {
        Identity::Arn(arn) => match &arn.role {
            Some(role) => format!("{}/{role}", arn.account),
            None => query.principal_text.clone(),
        },
        Identity::Service(text) | Identity::Other(text) => text.clone(),
    }
}
