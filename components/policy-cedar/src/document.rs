//! A document's files, read and checked.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};

use crate::schema::Names;
use crate::{Problem, Source, groups, place};

/// Bytes of an `@id`: it goes into every audit record.
const ID_LIMIT: usize = 200;

/// The annotation of what to tell whose request a `forbid` refuses.
pub(crate) const DENY_MESSAGE: &str = "deny_message";
/// The specification allows errorMessage less than 512 characters, all printable ASCII.
const MESSAGE_LIMIT: usize = 400;

/// All groups of each listed member, direct and indirect.
pub(crate) type Groups = HashMap<EntityUid, HashSet<EntityUid>>;

/// Rules that are valid by the schema, and who is in which group.
pub(crate) struct Document {
    /// In the document's order, each called by its id.
    pub(crate) policies: Vec<Policy>,
    pub(crate) groups: Groups,
}

/// A rule, and which file it is from.
struct Rule<'a> {
    id: String,
    source: &'a Source,
    policy: Policy,
}

impl Document {
    pub(crate) fn read(sources: &[Source], names: &Names) -> Result<Document, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut entities = Entities::empty();
        let mut seen = HashSet::new();
        for source in sources {
            if !seen.insert(source.name.as_str()) {
                problems.push(place::in_file(source, "the document names this file twice"));
            } else if source.name.ends_with(".cedar") {
                match read_rules(source) {
                    Ok(read) => rules.extend(read),
                    Err(found) => problems.extend(found),
                }
            } else if source.name.ends_with(".json") {
                match groups::read(source, entities.clone()) {
                    Ok(read) => entities = read,
                    Err(problem) => problems.push(problem),
                }
            } else {
                problems
                    .push(place::in_file(source, "a policy's files end in .cedar (rules) or .json (groups)"));
            }
        }
        problems.extend(repeated_ids(&rules));
        if !problems.is_empty() {
            return Err(problems);
        }
        let policies = PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone()))
            .map_err(|error| vec![nowhere(error)])?;
        validate(&policies, &rules, names)?;
        let groups = entities
            .iter()
            .map(|entity| {
                (entity.uid(), entities.ancestors(&entity.uid()).into_iter().flatten().cloned().collect())
            })
            .collect();
        Ok(Document { policies: rules.into_iter().map(|rule| rule.policy).collect(), groups })
    }
}

/// The rules of a file, in its order. Those without an `@id` are called `FILE:policyN`, N from 1.
fn read_rules(source: &Source) -> Result<Vec<Rule<'_>>, Vec<Problem>> {
    let set: PolicySet = source.text.parse().map_err(|errors| place::parse_errors(source, &errors))?;
    if let Some(template) = set.templates().next() {
        let slots: Vec<String> = template.slots().map(ToString::to_string).collect();
        let offset = slots.first().and_then(|slot| source.text.find(slot.as_str())).unwrap_or(0);
        return Err(vec![place::at_offset(
            source,
            offset,
            format!(
                "templates aren't supported: write the principal or the resource instead of {}",
                slots.join(", ")
            ),
        )]);
    }
    // Cedar numbers the policies of a text `policy0`, `policy1`, ...
    let mut numbered = Vec::new();
    for policy in set.policies() {
        let name = policy.id().to_string();
        match name.strip_prefix("policy").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => numbered.push((number, policy)),
            None => return Err(vec![place::in_file(source, format!("unexpected rule name {name}"))]),
        }
    }
    numbered.sort_by_key(|(number, _)| *number);
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for (number, policy) in numbered {
        let id = match policy.annotation("id") {
            Some(id) => id.to_owned(),
            None => format!("{}:policy{}", source.name, number + 1),
        };
        if id.is_empty() || id.len() > ID_LIMIT || id.chars().any(char::is_control) {
            let advice = format!("@id takes 1 to {ID_LIMIT} bytes without control characters");
            problems.push(place::in_file(
                source,
                format!("rule {} ({}): {advice}", number + 1, id.escape_debug()),
            ));
        }
        if let Some(problem) = message_problem(policy) {
            problems.push(place::in_file(source, format!("rule {} ({id}): {problem}", number + 1)));
        }
        let policy = policy.new_id(PolicyId::new(&id));
        rules.push(Rule { id, source, policy });
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn message_problem(rule: &Policy) -> Option<String> {
    let message = rule.annotation(DENY_MESSAGE)?;
    let printable = message.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if rule.effect() != Effect::Forbid {
        return Some("@deny_message belongs to a forbid; a permit refuses nothing".to_owned());
    }
    let fits = printable && (1..=MESSAGE_LIMIT).contains(&message.len());
    (!fits).then(|| format!("@deny_message takes 1 to {MESSAGE_LIMIT} printable ASCII characters"))
}

fn repeated_ids(rules: &[Rule<'_>]) -> Vec<Problem> {
    let mut first = HashMap::new();
    let mut problems = Vec::new();
    for rule in rules {
        match first.get(rule.id.as_str()) {
            None => {
                first.insert(rule.id.as_str(), rule.source);
            }
            Some(source) => {
                let name = &source.name;
                let message =
                    format!("the rule id {:?} is used twice (first in {name}); ids are unique", rule.id);
                problems.push(match last_mention(rule.source, &rule.id) {
                    Some(offset) => place::at_offset(rule.source, offset, message),
                    None => place::in_file(rule.source, message),
                });
            }
        }
    }
    problems
}

/// Where a file last writes `@id("ID")`: with two of the same id, the second.
fn last_mention(source: &Source, id: &str) -> Option<usize> {
    source.text.rfind(&format!("@id({id:?})"))
}

/// Checks every rule by the schema. Warnings refuse too: a rule that can never apply, or a look-alike letter in a
/// name, is a mistake that nobody would see otherwise.
fn validate(policies: &PolicySet, rules: &[Rule<'_>], names: &Names) -> Result<(), Vec<Problem>> {
    let result = Validator::new(names.schema.clone()).validate(policies, ValidationMode::Strict);
    let errors =
        result.validation_errors().map(|error| (error.policy_id(), error as &dyn miette::Diagnostic));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id(), warning as &dyn miette::Diagnostic));
    let mut problems: Vec<Problem> = errors
        .chain(warnings)
        .map(|(id, error)| match rules.iter().find(|rule| rule.policy.id() == id) {
            Some(rule) => place::diagnostic(rule.source, error),
            None => nowhere(error),
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    // Each rule is checked once a kind of principal and action; one message a place is enough.
    problems.sort_by(|a, b| {
        (&a.source, a.line, a.column, &a.message).cmp(&(&b.source, b.line, b.column, &b.message))
    });
    problems.dedup_by(|a, b| a.line != 0 && (&a.source, a.line, a.column) == (&b.source, b.line, b.column));
    Err(problems)
}

fn nowhere(error: impl std::fmt::Display) -> Problem {
    Problem { source: String::new(), line: 0, column: 0, message: error.to_string() }
}
