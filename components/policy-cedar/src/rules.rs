//! The rules of a document, ready to be evaluated, and found by what their scope asks for.
//!
//! Cedar's own authorizer builds the condition of every rule anew for every request, and writes to the reference counts
//! of all that it consists of: for the host those are pages to restore. Here a query meets only the rules whose scope
//! can match it, and what remains of their conditions was built once. That changes no decision: a scope can't fail, and
//! one that names another principal, action or key makes a rule inapplicable.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast::{self, Effect, Expr, Literal, SlotEnv, Value, ValueKind};
use cedar_policy_core::evaluator::Evaluator;

use crate::Operation;
use crate::schema::Names;

/// One rule.
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    /// The one key that it is for.
    key: Option<EntityUid>,
    /// What else has to hold; nothing if it is `None`.
    condition: Option<Expr>,
}

impl Rule {
    fn new(policy: &Policy) -> Rule {
        let ast: &ast::Policy = policy.as_ref();
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Eq(_) => None,
            _ => Some(ast.principal_constraint().as_expr()),
        };
        let (key, resource) = match policy.resource_constraint() {
            ResourceConstraint::Any => (None, None),
            ResourceConstraint::Eq(key) => (Some(key), None),
            _ => (None, Some(ast.resource_constraint().as_expr())),
        };
        let conditions = [principal, resource, ast.non_scope_constraints().cloned()];
        Rule {
            id: policy.id().to_string(),
            effect: policy.effect(),
            key,
            condition: conditions.into_iter().flatten().reduce(Expr::and),
        }
    }

    /// Whether the rule, whose principal and action match, applies to a request for `key`.
    pub(crate) fn applies(&self, key: &EntityUid, evaluator: &Evaluator<'_>) -> Result<bool, String> {
        if self.key.as_ref().is_some_and(|own| own != key) {
            return Ok(false);
        }
        let Some(condition) = &self.condition else { return Ok(true) };
        match evaluator.interpret(condition, &SlotEnv::new()) {
            Ok(Value { value: ValueKind::Lit(Literal::Bool(applies)), .. }) => Ok(applies),
            Ok(value) => Err(format!("rule {}: its condition is {value}, which is no truth value", self.id)),
            Err(error) => Err(format!("rule {}: {error}", self.id)),
        }
    }
}

/// Positions of rules, for each operation.
type ByOperation = [Vec<usize>; 3];

/// The rules of a document, in its order.
#[derive(Default)]
pub(crate) struct Rules {
    all: Vec<Rule>,
    /// Those for any principal, or for principals of a kind.
    any: ByOperation,
    /// Those for one principal.
    one: HashMap<EntityUid, ByOperation>,
}

impl Rules {
    pub(crate) fn new<'a>(policies: impl IntoIterator<Item = &'a Policy>, names: &Names) -> Rules {
        let mut rules = Rules::default();
        for policy in policies {
            let positions = match policy.principal_constraint() {
                PrincipalConstraint::Eq(uid) => rules.one.entry(uid).or_default(),
                _ => &mut rules.any,
            };
            let operations = [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt];
            for (operation, positions) in operations.into_iter().zip(positions) {
                if can_match(&policy.action_constraint(), names.action(operation)) {
                    positions.push(rules.all.len());
                }
            }
            rules.all.push(Rule::new(policy));
        }
        rules
    }

    /// All ids, in the document's order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|rule| rule.id.as_str())
    }

    /// The rules whose principal and action match, and where each stands in the document.
    pub(crate) fn for_query(
        &self,
        principal: &EntityUid,
        operation: Operation,
    ) -> impl Iterator<Item = (usize, &Rule)> {
        let sets = [Some(&self.any), self.one.get(principal)];
        let positions =
            sets.into_iter().flatten().filter_map(move |sets| sets.get(operation as usize)).flatten();
        positions.filter_map(|at| self.all.get(*at).map(|rule| (*at, rule)))
    }

    /// The ids of rules by where they stand, in that order.
    pub(crate) fn named(&self, mut positions: Vec<usize>) -> Vec<String> {
        positions.sort_unstable();
        positions.into_iter().filter_map(|at| self.all.get(at)).map(|rule| rule.id.clone()).collect()
    }
}

fn can_match(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => one == action,
        // The schema has no groups of actions.
        ActionConstraint::In(some) => some.contains(action),
    }
}
