//! A policy's own tests: queries, and what has to be decided. `docs/policies.md` describes the files.

use std::collections::BTreeSet;

use holdfast_gate::query::{Decision, Effect, Query};
use serde::{Deserialize, Serialize};

use crate::artefact::question::{Question, QuestionError};
use crate::artefact::source::Source;
use crate::policy::Policy;

/// Why a file of cases can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// It isn't TOML, or has fields that aren't known.
    #[error("{file}: {source}")]
    Toml {
        /// Which.
        file: String,
        /// Where and what.
        source: toml::de::Error,
    },
    /// A case asks nothing that could be asked.
    #[error("{file}: case {case:?}: {source}")]
    Question {
        /// Which.
        file: String,
        /// Its name.
        case: String,
        /// What is wrong.
        source: QuestionError,
    },
}

/// A query and what is expected.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file that it is in.
    pub file: String,
    /// What the case shows.
    pub name: String,
    /// What is asked.
    pub query: Query,
    /// What has to be decided.
    pub effect: Effect,
    /// The rules that have to decide, in any order, if that matters.
    pub rules: Option<Vec<String>>,
    /// What has to be told to whose request is denied, if that matters.
    pub message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Question,
    #[serde(default)]
    case: Vec<FileCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCase {
    name: String,
    expect: Expected,
    rules: Option<Vec<String>>,
    message: Option<String>,
    #[serde(default)]
    query: Question,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

/// Reads files of cases.
///
/// # Errors
/// Where a file isn't one, with the place in it.
pub fn read_cases(tests: &[Source]) -> Result<Vec<Case>, CasesError> {
    let mut cases = Vec::new();
    for source in tests {
        let file: File = toml::from_str(&source.text)
            .map_err(|error| CasesError::Toml { file: source.name.clone(), source: error })?;
        for case in file.case {
            let query = case.query.or(&file.defaults).query().map_err(|error| CasesError::Question {
                file: source.name.clone(),
                case: case.name.clone(),
                source: error,
            })?;
            cases.push(Case {
                file: source.name.clone(),
                name: case.name,
                query,
                effect: match case.expect {
                    Expected::Allow => Effect::Allow,
                    Expected::Deny => Effect::Deny,
                },
                rules: case.rules,
                message: case.message,
            });
        }
    }
    Ok(cases)
}

/// A case that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseFailure {
    /// The file that the case is in.
    pub file: String,
    /// The case's name.
    pub case: String,
    /// What was expected and what came.
    pub reason: String,
}

/// How the cases went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestReport {
    /// Cases that came out as expected.
    pub passed: usize,
    /// Those that didn't.
    pub failed: Vec<CaseFailure>,
    /// Rules that decided some case.
    pub covered_rules: Vec<String>,
    /// Rules that decided none: nothing shows that they do what they should.
    pub uncovered_rules: Vec<String>,
}

impl TestReport {
    /// Whether every case came out as expected.
    pub fn is_ok(&self) -> bool {
        self.failed.is_empty()
    }
}

/// Asks a policy all cases.
pub async fn run_cases(policy: &dyn Policy, cases: &[Case]) -> TestReport {
    let mut report = TestReport::default();
    let mut decided = BTreeSet::new();
    for case in cases {
        let reason = match policy.decide(&case.query).await {
            Ok(decision) => {
                decided.extend(decision.rules.iter().cloned());
                difference(case, &decision)
            }
            Err(failure) => Some(failure.to_string()),
        };
        match reason {
            None => report.passed += 1,
            Some(reason) => {
                report.failed.push(CaseFailure { file: case.file.clone(), case: case.name.clone(), reason })
            }
        }
    }
    let rules = policy.identity().rules.iter().cloned();
    (report.covered_rules, report.uncovered_rules) = rules.partition(|rule| decided.contains(rule));
    report
}

fn difference(case: &Case, decision: &Decision) -> Option<String> {
    let found = describe(decision);
    if decision.effect != case.effect {
        return Some(format!("expected {}, got {found}", effect_name(case.effect)));
    }
    if let Some(expected) = &case.rules {
        let sorted = |rules: &[String]| rules.iter().cloned().collect::<BTreeSet<_>>();
        if sorted(expected) != sorted(&decision.rules) {
            return Some(format!("expected {} by {expected:?}, got {found}", effect_name(case.effect)));
        }
    }
    match &case.message {
        Some(expected) if decision.message.as_ref() != Some(expected) => {
            Some(format!("expected the message {expected:?}, got {found}"))
        }
        _ => None,
    }
}

/// `allow` or `deny`.
pub fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

fn describe(decision: &Decision) -> String {
    let mut text = effect_name(decision.effect).to_owned();
    match decision.rules.is_empty() {
        true => text.push_str(" (no rule applied)"),
        false => text.push_str(&format!(" by {:?}", decision.rules)),
    }
    for error in &decision.errors {
        text.push_str(&format!(", error: {error}"));
    }
    if let Some(message) = &decision.message {
        text.push_str(&format!(", message: {message:?}"));
    }
    text
}
