//! clippy while building, so that dependencies are compiled once and not checked before.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// What makes cargo lint what it builds.
pub struct Lints(Vec<(&'static str, OsString)>);

/// clippy's driver compiles as rustc does, and lints the workspace's own crates, warnings being errors. None where it isn't found:
/// then `cargo clippy` has to do, which checks all dependencies first.
pub fn while_building() -> Lints {
    let Some(driver) = driver() else { return Lints::none() };
    Lints(vec![
        ("RUSTC_WORKSPACE_WRAPPER", driver.into()),
        // The form in which `cargo clippy` passes on what follows its `--`.
        ("CLIPPY_ARGS", ["--deny", "warnings", ""].join("__CLIPPY_HACKERY__").into()),
    ])
}

/// Beside the compiler in use.
fn driver() -> Option<PathBuf> {
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
    let driver = PathBuf::from(sysroot.trim()).join("bin/clippy-driver");
    driver.is_file().then_some(driver)
}

impl Lints {
    /// Builds as always.
    pub fn none() -> Lints {
        Lints(Vec::new())
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// For this run of cargo.
    pub fn apply<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo.envs(self.0.iter().map(|(name, value)| (name, value)))
    }
}
