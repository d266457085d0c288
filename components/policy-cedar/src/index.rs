//! The rules by what their scope asks for, so that a query meets only those that can apply.
//!
//! Cedar evaluates every rule of a set, one after the other. Leaving out rules whose scope names another action or another
//! principal changes no decision: a scope that doesn't match makes a rule inapplicable and can't fail.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint};

use crate::Operation;
use crate::schema::Names;

/// One set for each operation.
#[derive(Default)]
struct ByOperation([PolicySet; 3]);

/// The rules of a document.
#[derive(Default)]
pub(crate) struct Index {
    /// Rules for any principal, or for principals of a kind.
    any: ByOperation,
    /// Rules for one principal.
    one: HashMap<EntityUid, ByOperation>,
}

impl Index {
    pub(crate) fn new<'a>(
        policies: impl IntoIterator<Item = &'a Policy>,
        names: &Names,
    ) -> Result<Index, Box<PolicySetError>> {
        let mut index = Index::default();
        for policy in policies {
            let sets = match policy.principal_constraint() {
                PrincipalConstraint::Eq(uid) => index.one.entry(uid).or_default(),
                _ => &mut index.any,
            };
            for (operation, set) in [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt]
                .into_iter()
                .zip(&mut sets.0)
            {
                if applies(&policy.action_constraint(), names.action(operation)) {
                    set.add(policy.clone())?;
                }
            }
        }
        Ok(index)
    }

    /// The sets that can hold a rule for this query.
    pub(crate) fn sets(
        &self,
        principal: &EntityUid,
        operation: Operation,
    ) -> impl Iterator<Item = &PolicySet> {
        let one = self.one.get(principal);
        [Some(&self.any), one].into_iter().flatten().filter_map(move |sets| sets.0.get(operation as usize))
    }
}

fn applies(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => one == action,
        // The schema has no groups of actions.
        ActionConstraint::In(some) => some.contains(action),
    }
}
