//! Policies: what decides whether a verified request may use a key.
//!
//! The gate knows one trait, [`Policy`]. Behind it a sandboxed component that exports `holdfast:policy/policy` decides by a
//! document; this crate has all of a policy's way, and its folders tell it. Each uses only those before it:
//!
//! - [`artefact`]: a policy as people and files have it: the document, the one file that is staged, its signature, its test
//!   cases, a question, a recorded decision. Nothing here runs a component.
//! - [`decide`]: one decision: engines and limits, the facts that a component is shown, the cache, slow ones elsewhere.
//! - [`make`]: from bytes to something that decides: configured, snapshotted, stripped, kept on disk, measured.
//! - [`life`]: policies that change while the host runs: staged, beside another as a shadow, in force, taken back.
//!
//! What it must never do: turn a failure into an allow; show a component a fact that it didn't name, or anything that wasn't
//! verified; keep anything of one decision for the next but what the cache's key covers; let one policy's failing reach
//! another's requests; load compiled code from a folder that isn't this user's alone.
//!
//! It exports the trait and its types here, and each room's as a module. It knows no network, no configuration file and no
//! audit log: who uses it hands it what to read and where to record.

pub mod artefact;
pub mod decide;
mod digest;
pub mod life;
pub mod make;
mod policy;

pub use policy::{Deciding, Policy, PolicyFailure, PolicyIdentity, PolicyMetrics};

#[cfg(test)]
mod tests;
