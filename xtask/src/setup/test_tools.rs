//! What the tests need besides the compiler. Each function says what it couldn't get; the tests concerned skip.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apt;
use crate::error::{Error, Result};
use crate::process;
use crate::report::note;
use crate::workspace::Workspace;

const PIP_LIMIT: Duration = Duration::from_secs(5 * 60);

/// curl with `--aws-sigv4` (7.75 and later), an independent signer.
pub fn curl() -> Option<String> {
    let able = || {
        let help = process::capture(Command::new("curl").args(["--help", "all"])).unwrap_or_default();
        help.contains("--aws-sigv4")
    };
    tool("curl with --aws-sigv4", "curl", able)
}

/// The openssl command, an independent TLS client and certificate reader.
pub fn openssl() -> Option<String> {
    tool("openssl", "openssl", || process::is_installed("openssl"))
}

/// Finds a tool or installs its package; says what is missing then.
pub fn tool(what: &str, package: &str, able: impl Fn() -> bool) -> Option<String> {
    if able() {
        note(format!("{what}: installed already"));
        return None;
    }
    let reason = match apt::install(&[package, "ca-certificates"]) {
        Ok(()) if able() => return None,
        Ok(()) => "the package that apt-get installed doesn't have it".into(),
        Err(error) => error.to_string(),
    };
    Some(format!("{what}: {reason}"))
}

/// Makes a Python of our own, with the system's packages where it has none.
pub fn virtual_environment(folder: &Path) -> Result<()> {
    let make = || {
        process::run_within(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder), PIP_LIMIT)
    };
    if let Err(reason) = make() {
        note(format!("python3 -m venv: {reason}"));
        apt::install(&["python3", "python3-venv"])?;
        make()?;
    }
    Ok(())
}

/// A Python of our own under the target folder, with the packages that the keystore's decoder uses.
pub fn python(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("test-python");
    let python = folder.join("bin/python");
    if imports(&python) {
        note(format!("installed already: {}", folder.display()));
        return Ok(python);
    }
    virtual_environment(&folder)?;
    note("pip install cryptography argon2-cffi");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    process::run_within(pip.args(["cryptography>=42", "argon2-cffi>=23"]), PIP_LIMIT)?;
    match imports(&python) {
        true => Ok(python),
        false => Err(Error::Unexpected(format!("{} can't import what pip installed", python.display()))),
    }
}

fn imports(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import argon2, cryptography.hazmat.primitives.ciphers.aead"]);
    process::output(&mut command).is_ok_and(|done| done.status.success())
}

/// Prometheus' own judge of what `/metrics` says.
pub fn promtool(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("prometheus");
    let program = folder.join("usr/bin/promtool");
    let runs = || process::capture(Command::new(&program).arg("--version")).is_ok();
    if runs() {
        note(format!("promtool: installed already: {}", program.display()));
        return Ok(program);
    }
    apt::unpack("prometheus", &folder)?;
    match runs() {
        true => Ok(program),
        false => Err(Error::Unexpected(format!("{} doesn't run", program.display()))),
    }
}

/// clippy and rustfmt of the toolchain in use.
pub fn lints() -> Result<()> {
    for (component, subcommand) in [("clippy", "clippy"), ("rustfmt", "fmt")] {
        let able = || process::capture(Command::new("cargo").args([subcommand, "--version"])).is_ok();
        if able() {
            note(format!("{component}: installed already"));
            continue;
        }
        note(format!("rustup component add {component}"));
        let added =
            process::run_within(Command::new("rustup").args(["component", "add", component]), PIP_LIMIT);
        if added.is_err() || !able() {
            return Err(Error::Missing {
                what: format!("cargo {subcommand}"),
                advice: format!("With a network: rustup component add {component}"),
            });
        }
    }
    Ok(())
}
