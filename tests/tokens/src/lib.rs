//! Tokens of real PKCS#11 modules, SoftHSM2 and kryoptic, in folders of their own, for tests.
//!
//! ```no_run
//! # use holdfast_test_tokens::{Token, When};
//! let Some(token) = Token::softhsm2("one") else { return }; // says `skipped: ...` where it isn't installed
//! token.create_key("demo");
//! let faults = token.faults(); // a module to load, which fails on command
//! let _ = faults.fail("C_Encrypt", "CKR_DEVICE_ERROR", When::Next(1));
//! println!("{}", faults.module().display());
//! ```
//!
//! Everything that a token loads is its own copy, so that tokens in one process share no state and each is initialised by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use it")]

mod modules;
mod token;

pub use holdfast_fault_module::control::{Crash, Faults, Form, Function, GcmParams, IvFault, Rule, When};
pub use modules::{Kind, fault_module};
pub use token::{PIN, Token, keys};
