//! Which facts a rule can depend on.
//!
//! The host caches decisions by the declared facts and blanks all others, so a fact that is missed here would change
//! decisions, and one too many only costs cache hits. Whatever isn't understood therefore counts as reading everything.

use cedar_policy::PolicySet;
use cedar_policy::pst::{
    ActionConstraint, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, Var,
};

use crate::Facts;
use crate::schema::PRINCIPALS;

/// All facts that decisions of these rules can depend on.
pub(crate) fn of_policies(policies: &PolicySet) -> Facts {
    policies
        .policies()
        .map(|policy| match policy.to_pst() {
            Ok(policy) => of_rule(policy.body()),
            Err(_) => Facts::all(),
        })
        .fold(Facts::empty(), |all, one| all | one)
}

fn of_rule(rule: &Template) -> Facts {
    let clauses = rule.clauses().iter().map(|clause| match clause {
        Clause::When(expr) | Clause::Unless(expr) => of_expr(expr),
    });
    let scope = of_principal(&rule.principal) | of_action(&rule.action) | of_resource(&rule.resource);
    clauses.fold(scope, |all, one| all | one)
}

fn of_principal(constraint: &PrincipalConstraint) -> Facts {
    match constraint {
        PrincipalConstraint::Any => Facts::empty(),
        _ => Facts::PRINCIPAL,
    }
}

fn of_action(constraint: &ActionConstraint) -> Facts {
    match constraint {
        ActionConstraint::Any => Facts::empty(),
        _ => Facts::OPERATION,
    }
}

fn of_resource(constraint: &ResourceConstraint) -> Facts {
    match constraint {
        // Every resource is a Key.
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Facts::empty(),
        ResourceConstraint::Eq(EntityOrSlot::Entity(_)) => Facts::KEY_ID,
        // Documents put keys into groups only, never into key stores.
        ResourceConstraint::In(EntityOrSlot::Entity(uid))
        | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid))
            if uid.ty.to_string() == "KeyStore" =>
        {
            Facts::KEY_STORE
        }
        _ => Facts::KEY_ID | Facts::KEY_STORE,
    }
}

fn of_expr(expr: &Expr) -> Facts {
    match expr {
        Expr::GetAttr { expr, attr } if is_context(expr) => of_context(attr),
        Expr::HasAttr { expr, attrs } if is_context(expr) => of_context(&attrs.head),
        Expr::Var(Var::Principal) => Facts::PRINCIPAL,
        Expr::Var(Var::Action) => Facts::OPERATION,
        Expr::Var(Var::Resource) => Facts::KEY_ID | Facts::KEY_STORE,
        Expr::Literal(Literal::EntityUID(uid)) => of_literal(uid),
        Expr::Literal(Literal::Bool(_) | Literal::Long(_) | Literal::String(_)) => Facts::empty(),
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::Is { expr, in_expr: None, .. } => of_expr(expr),
        Expr::BinaryOp { left, right, .. } | Expr::Is { expr: left, in_expr: Some(right), .. } => {
            of_expr(left) | of_expr(right)
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            of_expr(cond) | of_expr(then_expr) | of_expr(else_expr)
        }
        Expr::Set(members) => members.iter().fold(Facts::empty(), |all, one| all | of_expr(one)),
        Expr::Record(members) => members.values().fold(Facts::empty(), |all, one| all | of_expr(one)),
        // The context as a whole, and whatever Cedar may add.
        _ => Facts::all(),
    }
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(Var::Context))
}

fn of_context(attribute: &str) -> Facts {
    match attribute {
        "accessKeyId" => Facts::ACCESS_KEY_ID,
        "kmsOperation" => Facts::KMS_OPERATION,
        "kmsRequestId" => Facts::KMS_REQUEST_ID,
        "kmsKey" => Facts::KMS_KEY,
        "viaService" => Facts::VIA_SERVICE,
        "sourceVpc" => Facts::SOURCE_VPC,
        "sourceVpce" => Facts::SOURCE_VPCE,
        "otherMetadata" => Facts::OTHER_METADATA,
        "tlsPeer" => Facts::TLS_PEER,
        "time" => Facts::TIME,
        _ => Facts::all(),
    }
}

/// An entity that a rule names may be the request's own one, whose attributes and parents come from the query.
fn of_literal(uid: &EntityUID) -> Facts {
    match uid.ty.to_string().as_str() {
        name if PRINCIPALS.contains(&name) => Facts::PRINCIPAL,
        "Key" => Facts::KEY_ID | Facts::KEY_STORE,
        "Group" | "Account" | "KeyStore" | "Action" => Facts::empty(),
        _ => Facts::all(),
    }
}
