//! Which facts a rule can depend on.
//!
//! The host caches decisions by the declared facts and blanks all others, so a fact that is missed here would change
//! decisions, and one too many only costs cache hits. Whatever isn't understood therefore counts as reading everything.

use cedar_policy::{ActionConstraint, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast::{self, EntityUID, Expr, ExprKind, Literal, Var};

use crate::Facts;
use crate::schema::PRINCIPALS;

/// All facts that decisions of these rules can depend on.
pub(crate) fn of_policies(policies: &[Policy]) -> Facts {
    all(policies.iter().map(of_rule))
}

fn all(facts: impl Iterator<Item = Facts>) -> Facts {
    facts.fold(Facts::empty(), |all, one| all | one)
}

fn of_rule(rule: &Policy) -> Facts {
    let principal = match rule.principal_constraint() {
        PrincipalConstraint::Any => Facts::empty(),
        _ => Facts::PRINCIPAL,
    };
    let action = match rule.action_constraint() {
        ActionConstraint::Any => Facts::empty(),
        _ => Facts::OPERATION,
    };
    let conditions: &ast::Policy = rule.as_ref();
    let conditions = conditions.non_scope_constraints().map_or(Facts::empty(), of_expr);
    principal | action | of_resource(&rule.resource_constraint()) | conditions
}

fn of_resource(constraint: &ResourceConstraint) -> Facts {
    match constraint {
        // Every resource is a Key.
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Facts::empty(),
        ResourceConstraint::Eq(_) => Facts::KEY_ID,
        // Documents put keys into groups only, never into key stores.
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid)
            if uid.type_name().basename() == "KeyStore" =>
        {
            Facts::KEY_STORE
        }
        ResourceConstraint::In(_) | ResourceConstraint::IsIn(..) => Facts::KEY_ID | Facts::KEY_STORE,
    }
}

fn of_expr(expr: &Expr) -> Facts {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } if is_context(expr) => {
            of_context(attr)
        }
        ExprKind::ExtHasAttr { expr, attrs } if is_context(expr) => of_context(attrs.first()),
        ExprKind::Var(Var::Principal) => Facts::PRINCIPAL,
        ExprKind::Var(Var::Action) => Facts::OPERATION,
        ExprKind::Var(Var::Resource) => Facts::KEY_ID | Facts::KEY_STORE,
        ExprKind::Lit(Literal::EntityUID(uid)) => of_literal(uid),
        ExprKind::Lit(Literal::Bool(_) | Literal::Long(_) | Literal::String(_)) => Facts::empty(),
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
            of_expr(expr) | of_attribute(expr, attr)
        }
        ExprKind::ExtHasAttr { expr, attrs } => {
            of_expr(expr) | all(attrs.iter().map(|attr| of_attribute(expr, attr)))
        }
        ExprKind::UnaryApp { arg: expr, .. } | ExprKind::Like { expr, .. } | ExprKind::Is { expr, .. } => {
            of_expr(expr)
        }
        ExprKind::And { left, right }
        | ExprKind::Or { left, right }
        | ExprKind::BinaryApp { arg1: left, arg2: right, .. } => of_expr(left) | of_expr(right),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            of_expr(test_expr) | of_expr(then_expr) | of_expr(else_expr)
        }
        ExprKind::Set(members) => all(members.iter().map(of_expr)),
        ExprKind::Record(members) => all(members.values().map(of_expr)),
        // The context as a whole, and whatever Cedar may add.
        _ => Facts::all(),
    }
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
}

/// A principal has its session in two attributes, and whatever isn't a part of the context may be the principal.
fn of_attribute(of: &Expr, attribute: &str) -> Facts {
    if matches!(attribute, "arn" | "session") && !is_of_context(of) {
        Facts::PRINCIPAL_SESSION
    } else {
        Facts::empty()
    }
}

/// Whether this is the context or a part of it.
fn is_of_context(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, .. } => is_of_context(expr),
        _ => is_context(expr),
    }
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
        "clock" => Facts::CLOCK,
        "decrypts" => Facts::DECRYPTS,
        _ => Facts::all(),
    }
}

/// An entity that a rule names may be the request's own one, whose attributes and parents come from the query.
fn of_literal(uid: &EntityUID) -> Facts {
    match uid.entity_type().to_string().as_str() {
        name if PRINCIPALS.contains(&name) => Facts::PRINCIPAL,
        "Key" => Facts::KEY_ID | Facts::KEY_STORE,
        "Group" | "Account" | "KeyStore" | "Action" => Facts::empty(),
        _ => Facts::all(),
    }
}
