//! A document that decides.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Authorizer, Entities, Entity, EntityUid, PolicyId, get_sdk_version};

use crate::document::Document;
use crate::index::Index;
use crate::schema::Names;
use crate::{Decision, Description, Effect, Facts, Problem, Query, Source, reads, request};

/// Rules that were checked, ready to decide.
pub struct Engine {
    names: Names,
    document: Document,
    index: Index,
    reads: Facts,
    authorizer: Authorizer,
    /// Where each rule stands in the document.
    positions: HashMap<PolicyId, usize>,
    /// Members of groups that rules name: what they are in must be known whoever asks.
    named: Vec<Entity>,
}

impl Engine {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// All problems that were found, each with its file and, where there is one, its place.
    pub fn configure(document: &[Source]) -> Result<Engine, Vec<Problem>> {
        let names = Names::read().map_err(|problem| vec![problem])?;
        let document = Document::read(document, &names)?;
        let index = Index::new(document.policies.policies(), &names).map_err(|error| {
            vec![Problem { source: String::new(), line: 0, column: 0, message: error.to_string() }]
        })?;
        let reads = reads::of_policies(&document.policies);
        let positions = document.rules.iter().enumerate().map(|(at, id)| (PolicyId::new(id), at)).collect();
        let literals: HashSet<EntityUid> =
            document.policies.policies().flat_map(|policy| policy.entity_literals()).collect();
        let named = literals
            .into_iter()
            .filter_map(|uid| {
                let parents = document.groups.get(&uid).filter(|parents| !parents.is_empty())?;
                Some(Entity::new_no_attrs(uid, parents.clone()))
            })
            .collect();
        Ok(Engine { names, document, index, reads, authorizer: Authorizer::new(), positions, named })
    }

    /// What is configured.
    pub fn describe(&self) -> Description {
        Description {
            engine: format!("cedar {}", get_sdk_version()),
            reads: self.reads,
            rules: self.document.rules.clone(),
        }
    }

    /// Decides one query: denied unless a `permit` applies, no `forbid` does, and every rule could be evaluated.
    pub fn evaluate(&self, query: &Query) -> Decision {
        self.evaluate_with(query, self.reads)
    }

    /// The same with these facts put in, also ones that no rule reads: they make no difference.
    pub fn evaluate_with(&self, query: &Query, facts: Facts) -> Decision {
        let built = request::build(query, facts, &self.names, &self.document.groups)
            .and_then(|(principal, request, own)| Ok((principal, request, self.entities(own)?)));
        let (principal, request, entities) = match built {
            Ok(built) => built,
            Err(error) => return Decision { effect: Effect::Deny, rules: Vec::new(), errors: vec![error] },
        };
        let (mut permits, mut forbids, mut failed, mut errors) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for policies in self.index.sets(&principal, query.operation).filter(|set| !set.is_empty()) {
            let response = self.authorizer.is_authorized(&request, policies, &entities);
            let applied = response.diagnostics().reason().cloned();
            match response.decision() {
                cedar_policy::Decision::Allow => permits.extend(applied),
                cedar_policy::Decision::Deny => forbids.extend(applied),
            }
            for error in response.diagnostics().errors() {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(cause) = error;
                failed.push(cause.policy_id().clone());
                errors.push(error.to_string());
            }
        }
        let (effect, decisive) = match (errors.is_empty(), forbids.is_empty(), permits.is_empty()) {
            // Cedar skips a rule that fails; a skipped `forbid` must not become an allow.
            (false, _, _) => (Effect::Deny, failed),
            (true, false, _) => (Effect::Deny, forbids),
            (true, true, none) => (if none { Effect::Deny } else { Effect::Allow }, permits),
        };
        Decision { effect, rules: self.in_order(&decisive), errors }
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

    fn in_order(&self, ids: &[PolicyId]) -> Vec<String> {
        let mut positions: Vec<usize> = ids.iter().filter_map(|id| self.positions.get(id).copied()).collect();
        positions.sort_unstable();
        positions.into_iter().filter_map(|at| self.document.rules.get(at).cloned()).collect()
    }
}
