//! Speaks the XKS proxy API v1 (`wit/proxy`): routes, validates, asks the gate, renders.
//!
//! It holds no authority: the gate authenticates, decides and operates, and checks what is answered. The logic is
//! ordinary Rust over the trait [`Gate`], tested natively; on wasm32 it is exported as a component.
//!
//! What it must never do: answer with anything of a request's but what the gate gave it for that request, or take a body that the
//! specification doesn't allow.
//!
//! It exports [`handle`] with what that asks ([`Gate`]) and gives ([`Response`]).

mod body;
mod handler;

#[cfg(target_arch = "wasm32")]
mod component;

pub use handler::{Gate, Response, handle};
