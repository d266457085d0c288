//! A document that decides.

use std::collections::HashSet;

use cedar_policy::{Entities, Entity, EntityUid, get_sdk_version};
use cedar_policy_core::ast;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use crate::document::{DENY_MESSAGE, Document, Groups};
use crate::request::Asked;
use crate::rules::Rules;
use crate::schema::Names;
use crate::{Decision, Description, Effect, Facts, Problem, Query, Source, reads, request};

/// Rules that were checked, ready to decide.
pub struct Engine {
    names: Names,
    rules: Rules,
    groups: Groups,
    reads: Facts,
    /// Members of groups that rules name: what they are in must be known whoever asks.
    named: Vec<Entity>,
    /// What to tell whose request a rule denies.
    messages: Vec<(String, String)>,
}

impl Engine {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// All problems that were found, each with its file and, where there is one, its place.
    pub fn configure(document: &[Source]) -> Result<Engine, Vec<Problem>> {
        let names = Names::read().map_err(|problem| vec![problem])?;
        let Document { policies, groups } = Document::read(document, &names)?;
        let reads = reads::of_policies(&policies);
        let literals: HashSet<EntityUid> =
            policies.iter().flat_map(|policy| policy.entity_literals()).collect();
        let named = literals
            .into_iter()
            .filter_map(|uid| {
                let parents = groups.get(&uid).filter(|parents| !parents.is_empty())?;
                Some(Entity::new_no_attrs(uid, parents.clone()))
            })
            .collect();
        let messages = policies
            .iter()
            .filter_map(|rule| Some((rule.id().to_string(), rule.annotation(DENY_MESSAGE)?.to_owned())))
            .collect();
        Ok(Engine { messages, rules: Rules::new(&policies, &names), names, groups, reads, named })
    }

    /// What is configured.
    pub fn describe(&self) -> Description {
        Description {
            engine: format!("cedar {}", get_sdk_version()),
            reads: self.reads,
            rules: self.rules.ids().map(str::to_owned).collect(),
            messages: self.messages.clone(),
        }
    }

    /// Decides one query: denied unless a `permit` applies, no `forbid` does, and every rule could be evaluated.
    pub fn evaluate(&self, query: &Query) -> Decision {
        self.evaluate_with(query, self.reads)
    }

    /// The same with these facts put in, also ones that no rule reads: they make no difference.
    pub fn evaluate_with(&self, query: &Query, facts: Facts) -> Decision {
        let built = request::build(query, facts, &self.names, &self.groups)
            .and_then(|(asked, own)| Ok((asked, self.entities(own)?)));
        let (Asked { principal, key, request }, entities) = match built {
            Ok(built) => built,
            Err(error) => return Decision { effect: Effect::Deny, rules: Vec::new(), errors: vec![error] },
        };
        let request: &ast::Request = request.as_ref();
        let evaluator = Evaluator::new(request.clone(), entities.as_ref(), Extensions::all_available());
        let (mut permits, mut forbids, mut failed, mut errors) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, rule) in self.rules.for_query(&principal, query.operation) {
            match (rule.applies(&key, &evaluator), rule.effect) {
                (Ok(true), ast::Effect::Permit) => permits.push(at),
                (Ok(true), ast::Effect::Forbid) => forbids.push(at),
                (Ok(false), _) => {}
                (Err(error), _) => {
                    failed.push(at);
                    errors.push(error);
                }
            }
        }
        let (effect, decisive) = match (errors.is_empty(), forbids.is_empty(), permits.is_empty()) {
            // A `forbid` that fails must not become an allow.
            (false, _, _) => (Effect::Deny, failed),
            (true, false, _) => (Effect::Deny, forbids),
            (true, true, none) => (if none { Effect::Deny } else { Effect::Allow }, permits),
        };
        Decision { effect, rules: self.rules.named(decisive), errors }
    }

    /// The request's own entities and the document's.
    fn entities(&self, mut own: Vec<Entity>) -> Result<Entities, String> {
        for entity in &self.named {
            let uid = entity.uid();
            if !own.iter().any(|other| other.uid() == uid) {
                own.push(entity.clone());
            }
        }
        Entities::from_entities(own, None).map_err(|error| error.to_string())
    }
}
