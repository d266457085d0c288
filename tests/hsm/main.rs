//! Key stores whose keys are in HSMs: the real host on SoftHSM2 and kryoptic, in threads and in worker processes, and with
//! the fault module in between. Tests whose names begin with an id are rows of docs/conformance.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod commands;
mod faults;
mod fleet;
mod operations;
mod pins;
mod rig;
mod rotation;
mod seal;
