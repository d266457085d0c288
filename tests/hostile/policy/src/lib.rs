//! A policy that does what its document and the request say, and allows everything otherwise: wrongly, as a policy can.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
#[path = "../../exhaust.rs"]
#[allow(dead_code, reason = "shared by the hostile components")]
mod exhaust;
