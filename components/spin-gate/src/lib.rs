//! The gate as a component (`wit/gate`, interfaces `types` and `intake`), for hosts that run nothing but components.
//!
//! It applies the rules of `holdfast-gate` to the keys of `holdfast-keystore`, like the native gate. Clock, randomness and
//! settings come from outside, through [`Outside`] and [`Settings`]; the logic is ordinary Rust, tested natively.
//!
//! An instance may serve many requests, so nothing of a request is kept here: it lives in the values that the steps
//! hand on, [`Expecting`] -> [`Request`] -> [`Admission`] -> [`Grant`], beside the [`Exchange`] that ends it.

mod admission;
mod exchange;
mod home;
mod keys;
mod outside;
mod request;
mod settings;

#[cfg(target_arch = "wasm32")]
mod component;

pub use admission::{Admission, Grant};
pub use exchange::{Closed, Exchange, Trace};
pub use home::{BODY_LIMIT, Head, Home, Opened};
pub use outside::{Clock, Outside};
pub use request::{BodyFault, Expecting, Received, Request};
pub use settings::{Settings, SettingsError};
