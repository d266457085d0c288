//! The XKS proxy API, requirement by requirement: a test's name begins with the id that docs/conformance.md gives it.
//! Real requests over real sockets to the real binary, signed by the aws-sigv4 crate, by curl and by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod authentication;
mod console;
mod credentials;
mod cryptography;
mod errors;
mod logs;
mod operations;
mod policy;
mod time;
mod tls;
mod transport;
mod validation;

/// The default, with a budget that a machine busy with other tests keeps too.
fn setup() -> holdfast_tests::Setup {
    holdfast_tests::Setup::new().limit("budget", "2s")
}

/// Whether this home does something otherwise, on purpose. The composed component's tests (`tests/spin`) run these modules too.
fn differs(_: &str) -> bool {
    false
}
