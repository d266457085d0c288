//! The example policies that are components of their own: Rust, JavaScript and Python.
//!
//! Each is built in a copy under the target folder and kept there until its files change. What a language needs and
//! can't be got is told, and the tests of that language report themselves skipped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result, file};
use crate::report::note;
use crate::setup::wasm_target::{TARGET, Toolchain};
use crate::setup::{apt, test_tools};
use crate::workspace::{Workspace, write_if_changed};
use crate::{process, setup};

/// Installing and compiling one language's.
const LIMIT: Duration = Duration::from_secs(10 * 60);
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// Builds all of them into `target/policies`; gives what is missing.
pub fn policies(workspace: &Workspace) -> Result<Vec<String>> {
    let toolchain = setup::for_build(workspace)?;
    let mut missing = Vec::new();
    let mut build = |name: &str, work: &dyn Fn(&Path) -> Result<()>| -> Result<()> {
        let folder = workspace.target().join("policies").join(name);
        copy(&workspace.root.join("examples/policies").join(name), &folder)?;
        let stamp = stamp(&folder)?;
        let kept = folder.join(".built");
        if fs::read_to_string(&kept).is_ok_and(|text| text == stamp) {
            note(format!("{name}: built already"));
            return Ok(());
        }
        match work(&folder) {
            Ok(()) => fs::write(&kept, stamp).map_err(file("can't write", &kept)),
            Err(reason) => {
                missing.push(format!("the example policy in {name}: {reason}"));
                Ok(())
            }
        }
    };
    build("rust", &|folder| rust(workspace, &toolchain, folder))?;
    build("javascript", &javascript)?;
    build("python", &python)?;
    Ok(missing)
}

/// Copies an example's files, and those that its links name.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(file("can't make", to))?;
    for entry in fs::read_dir(from).map_err(file("can't read", from))? {
        let path = entry.map_err(file("can't read", from))?.path();
        let name = path.file_name().unwrap_or_default();
        let built = ["target", "build", "node_modules", "__pycache__"];
        if path.is_dir() && !built.iter().any(|built| name == *built) {
            copy(&path, &to.join(name))?;
        } else if path.is_file() {
            let bytes = fs::read(&path).map_err(file("can't read", &path))?;
            write_if_changed(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// A digest of the sources.
fn stamp(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut files = vec![folder.join("wit/policy.wit")];
    for entry in fs::read_dir(folder).map_err(file("can't read", folder))? {
        files.push(entry.map_err(file("can't read", folder))?.path());
    }
    files.push(folder.join("src/lib.rs"));
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.retain(|path| {
        path.is_file() && ![".built", "package-lock.json", "Cargo.lock"].contains(&&*name(path))
    });
    files.sort();
    for path in files {
        let bytes = fs::read(&path).map_err(file("can't read", &path))?;
        hash.update(Sha256::digest(name(&path)));
        hash.update(Sha256::digest(bytes));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn rust(workspace: &Workspace, toolchain: &Toolchain, folder: &Path) -> Result<()> {
    let mut cargo = toolchain.cargo(workspace);
    cargo.args(["build", "--release", "--target", TARGET]).args(toolchain.arguments());
    cargo.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(folder.join("target")).env_remove("RUSTFLAGS");
    process::run_within(&mut cargo, LIMIT)
}

fn javascript(folder: &Path) -> Result<()> {
    let able = || process::is_installed("node") && process::is_installed("npm");
    if !able() {
        apt::install(&["nodejs", "npm"])?;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund"]).current_dir(folder);
    process::run_within(&mut npm, LIMIT)?;
    process::run_within(Command::new("node").arg("build.mjs").current_dir(folder), LIMIT)?;
    made(&folder.join("build/policy.wasm"))
}

fn python(folder: &Path) -> Result<()> {
    let virtual_environment = folder.join("build/python");
    if !virtual_environment.join("bin/componentize-py").is_file() {
        test_tools::virtual_environment(&virtual_environment)?;
        let mut pip = Command::new(virtual_environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]);
        process::run_within(&mut pip, LIMIT)?;
    }
    let mut componentize = Command::new(virtual_environment.join("bin/componentize-py"));
    componentize.args(["-d", "wit", "-w", "policy-engine", "componentize", "policy"]);
    componentize.args(["-o", "build/policy.wasm"]).current_dir(folder);
    process::run_within(&mut componentize, LIMIT)?;
    made(&folder.join("build/policy.wasm"))
}

fn made(path: &Path) -> Result<()> {
    match path.is_file() {
        true => Ok(()),
        false => Err(Error::Unexpected(format!("{} wasn't made", path.display()))),
    }
}
