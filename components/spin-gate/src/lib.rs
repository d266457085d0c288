//! The gate as a component (`wit/gate`, interfaces `types` and `intake`), for hosts that run nothing but components.
//!
//! The steps of a request are those of `holdfast-gate`, and the keys those of `holdfast-keystore`, as in the native gate.
//! Here is what this home does between them. Clock, randomness and settings come from outside, through [`Outside`] and
//! [`Settings`].
//!
//! An instance may serve many requests, so nothing of a request is kept here: it lives in the values that the steps
//! hand on, [`Expecting`] -> [`Request`] -> [`Admission`] -> [`Grant`], beside the [`Exchange`] that ends it.

mod exchange;
mod home;
mod outside;
mod settings;
mod steps;

#[cfg(target_arch = "wasm32")]
mod component;

pub use exchange::{Closed, Exchange, Trace};
pub use home::{BODY_LIMIT, Head, Home, Opened};
pub use outside::{Clock, Outside, Undecided};
pub use settings::{Document, Settings, SettingsError};
pub use steps::{Admission, BodyFault, Expecting, Grant, Received, Request};
