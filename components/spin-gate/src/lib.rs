//! The gate as a component (`wit/gate`, interfaces `types` and `intake`), for hosts that run nothing but components.
//!
//! The steps of a request are those of `holdfast-gate`, and the keys those of `holdfast-keystore`, as in the native gate.
//! Here is what this home does between them. Clock, randomness and settings come from outside, through [`Outside`] and
//! [`Settings`].
//!
//! An instance may serve many requests, so nothing of a request is kept here: it lives in the values that the steps
//! hand on, [`Expecting`] -> [`Request`] -> [`Admission`] -> [`Grant`], beside the [`Exchange`] that ends it.
//!
//! What it must never do: take a step that the one before it wasn't made for, do anything for a request that was answered, or let a
//! secret, a plaintext or a setting's value into an error or a record.
//!
//! It exports the steps, what is around them, and [`Home`], which holds what all requests share.

mod answers;
mod exchange;
mod home;
mod outside;
mod settings;
mod steps;
mod store;

#[cfg(target_arch = "wasm32")]
mod component;

pub use answers::BODY_LIMIT;
pub use exchange::{Closed, Exchange, Trace};
pub use home::{Head, Opened};
pub use outside::{Clock, Outside, Undecided};
pub use settings::{Document, Settings, SettingsError};
pub use steps::{Admission, BodyFault, Expecting, Grant, Received, Request};
pub use store::Home;
