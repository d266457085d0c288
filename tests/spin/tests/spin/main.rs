//! The composed component as Spin runs it, under wasmtime: what the native host's conformance tests ask, and what both homes
//! have in common.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "../../../conformance/authentication.rs"]
mod authentication;
#[path = "../../../conformance/console.rs"]
mod console;
#[path = "../../../conformance/credentials.rs"]
mod credentials;
#[path = "../../../conformance/cryptography.rs"]
mod cryptography;
#[path = "../../../conformance/errors.rs"]
mod errors;
mod facts;
mod homes;
mod isolation;
#[path = "../../../conformance/logs.rs"]
mod logs;
#[path = "../../../conformance/operations.rs"]
mod operations;
#[path = "../../../conformance/policy.rs"]
mod policy;
mod settings;
#[path = "../../../conformance/validation.rs"]
mod validation;

/// What serves the composed component: `spin` when this suite runs itself on Spin.
fn program() -> &'static str {
    match std::env::var(ON_SPIN) {
        Ok(_) => "spin",
        Err(_) => env!("CARGO_BIN_EXE_holdfast-spin-host"),
    }
}

const ON_SPIN: &str = "HOLDFAST_TEST_ON_SPIN";

/// The composed component, in the default reuse of instances.
fn setup() -> holdfast_tests::Setup {
    holdfast_tests::Setup::new().spin(program(), &[])
}

/// What the native host does and this home doesn't, on purpose: docs/spin.md tells of each.
fn differs(why: &str) -> bool {
    println!("not asked of this home: {why}");
    true
}

/// This suite again, on Spin itself.
#[test]
fn real_spin_passes_too() {
    if std::env::var(ON_SPIN).is_ok() {
        return;
    }
    let version = std::process::Command::new("spin").arg("--version").output();
    let version =
        version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let number = version.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map_while(|part| part.parse::<u32>().ok());
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (4, 1) {
        println!("skipped: spin 4.1 or later isn't on PATH");
        return;
    }
    let suite =
        std::process::Command::new(std::env::current_exe().unwrap()).env(ON_SPIN, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&suite.stdout), String::from_utf8_lossy(&suite.stderr));
    assert!(suite.status.success(), "{out}\n{err}");
}
