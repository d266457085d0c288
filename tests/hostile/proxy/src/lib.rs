//! A proxy that does what the request says, and is the honest one otherwise.
//!
//! `hostile-NAME` as the key id in the path acts before authentication, `"hostile-NAME"` in the signed body after it.
//! What is honest here is compiled from the product's own files.

#[cfg(target_arch = "wasm32")]
#[path = "../../../../components/proxy/src/body.rs"]
#[rustfmt::skip] // formatted where it belongs
mod body;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
#[path = "../../exhaust.rs"]
#[allow(dead_code, reason = "shared by the hostile components")]
mod exhaust;
#[cfg(target_arch = "wasm32")]
#[path = "../../../../components/proxy/src/handler.rs"]
#[rustfmt::skip] // formatted where it belongs
mod handler;
#[cfg(target_arch = "wasm32")]
mod lies;
