//! Reads the SigV4 claim out of a request's head (`wit/authn`).
//!
//! The logic is ordinary Rust, tested natively; on wasm32 it is exported as a component.

pub mod claim;

#[cfg(target_arch = "wasm32")]
mod component;
