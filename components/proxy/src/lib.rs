//! Speaks the XKS proxy API v1 (`wit/proxy`): routes, validates, asks the gate, renders.
//!
//! It holds no authority: the gate authenticates, decides and operates, and checks what is answered. The logic is
//! ordinary Rust over the trait [`Gate`], tested natively; on wasm32 it is exported as a component.

mod body;
mod handler;

#[cfg(target_arch = "wasm32")]
mod component;

pub use handler::{Gate, Response, handle};
