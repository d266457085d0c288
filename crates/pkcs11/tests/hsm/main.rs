//! HSMs as a fleet uses them: real tokens behind a module that fails on command. In threads and in worker processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod faults;
mod fleet;
mod forms;
mod growth;
mod keys;
mod one;
mod pin;
mod rig;
mod sessions;

/// The program of the worker processes that the tests start.
#[test]
#[ignore = "run by the other tests"]
fn worker_process() {
    if std::env::var_os(rig::WORKER).is_some() {
        holdfast_pkcs11::worker::run().unwrap();
    }
}
