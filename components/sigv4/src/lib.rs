//! Reads the SigV4 claim out of a request's head (`wit/authn`).
//!
//! The logic is ordinary Rust, tested natively; on wasm32 it is exported as a component.
//!
//! What it must never do: say of a request what its head doesn't say. The gate looks nothing up but by what it claims, and
//! compares each part with the head itself, so that a wrong claim is a refusal.
//!
//! It exports [`claim`].

pub mod claim;

#[cfg(target_arch = "wasm32")]
mod component;
