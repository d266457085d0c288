//! Decides requests by rules written in Cedar.
//!
//! A document is any number of `*.cedar` files (rules) and `*.json` files (members of groups). The [`Engine`] checks it
//! against `schema.cedarschema` once and then decides queries; it keeps nothing from one to the next.
//!
//! The crate is the component `holdfast:policy/policy` and, linked natively, the same logic for tests and benchmarks.
//!
//! What it must never do: allow where Cedar didn't, or where an evaluation failed and a `forbid` might have applied; read a fact that its
//! description doesn't name; keep anything from one query to the next.
//!
//! It exports [`Engine`] and the contract's types.

#[cfg(target_arch = "wasm32")]
mod component;
mod document;
mod engine;
mod groups;
#[cfg(target_arch = "wasm32")]
mod memory;
mod place;
mod reads;
mod request;
mod rules;
mod schema;
#[allow(missing_docs, reason = "generated; wit/policy/policy.wit has the docs")]
mod wit;

pub use engine::Engine;
pub use wit::holdfast::policy::types::{
    Arn, Clock, Decision, DecryptCounts, Description, Effect, Facts, Identity, Operation, Problem, Query,
    Source,
};
