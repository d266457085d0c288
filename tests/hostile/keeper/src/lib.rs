//! A proxy that keeps what it has seen, and tries to tell or use it in the requests after. Where each request has a fresh
//! instance there is nothing to keep; where an instance serves many, the gate must see to it.

#[cfg(target_arch = "wasm32")]
mod component;
