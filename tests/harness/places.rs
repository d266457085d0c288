//! Where the binary and the components are.

use std::path::{Path, PathBuf};

/// The `holdfast` under test.
pub fn program() -> PathBuf {
    let path = match std::env::var_os("HOLDFAST_BIN") {
        Some(path) => PathBuf::from(path),
        None => beside_the_tests("holdfast"),
    };
    assert!(path.is_file(), "{} isn't there; run `cargo build` or set HOLDFAST_BIN", path.display());
    path
}

/// The folder of `sigv4.wasm`, `proxy.wasm` and `policy-cedar.wasm`.
pub fn components() -> PathBuf {
    let path = match std::env::var_os("HOLDFAST_COMPONENTS") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components"),
    };
    assert!(
        path.join("proxy.wasm").is_file(),
        "no components in {}; run `cargo xtask build` or set HOLDFAST_COMPONENTS",
        path.display()
    );
    path
}

/// The component made of `tests/hostile/NAME`.
pub fn hostile(name: &str) -> PathBuf {
    let path = components().join(format!("hostile-{name}.wasm"));
    assert!(path.is_file(), "{} isn't there; run `cargo xtask build`", path.display());
    path
}

/// A cache of compiled components that all hosts of the tests share, so that Cedar is compiled once.
pub fn cache() -> PathBuf {
    beside_the_tests("test-component-cache")
}

/// `target/PROFILE/NAME`; tests run from `target/PROFILE/deps`.
fn beside_the_tests(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("tests run from target/PROFILE/deps");
    profile.join(name)
}
