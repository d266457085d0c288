//! The fault module passes calls on to SoftHSM2 and to kryoptic, and each fault does what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod calls;
mod client;
mod forms;
mod message;
mod processes;
mod tokens;
