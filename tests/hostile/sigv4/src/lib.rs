//! An authenticator that does what the header `x-hostile` says, and is the honest one without it.

#![cfg_attr(target_arch = "wasm32", allow(clippy::panic, reason = "misbehaves on purpose"))]

#[cfg(target_arch = "wasm32")]
#[path = "../../../../components/sigv4/src/claim.rs"]
#[rustfmt::skip] // formatted where it belongs
#[allow(dead_code, reason = "the product's file, as it is")]
mod claim;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
#[path = "../../exhaust.rs"]
#[allow(dead_code, reason = "shared by the hostile components")]
mod exhaust;
