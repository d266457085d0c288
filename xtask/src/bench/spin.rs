//! The composed component, served as Spin serves it.

use std::path::Path;
use std::process::Command;

use super::figure::{Figure, Goal};
use super::run::Bench;
use super::throughput::LOAD;
use crate::build::languages;
use crate::error::{Result, file};
use crate::process;
use crate::server::{Ready, Server};
use crate::workspace::{Profile, Workspace};

pub const WHAT: &str =
    "the composed component under wasmtime as Spin 4.1 has it, and its size; encrypts like throughput's";

const MEGABYTE: f64 = 1_000_000.0;

/// Builds what serves it.
pub fn build(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args(["build", "--package", "holdfast-test-spin", "--bins", "--release"]))
}

pub fn measure(workspace: &Workspace, bench: &Bench) -> Result<Vec<Figure>> {
    let fresh = rate(workspace, bench, "1")?;
    let reused = rate(workspace, bench, "128")?;
    let size = |name: &str| bytes(&workspace.components().join(name));
    let composed = size("holdfast-spin.wasm")?;
    let cedar = composed + size("policy-cedar.wasm")?;
    let configured = bench.folder().join("spin-policy.wasm");
    let configured = composed + bytes(&configured)?;
    languages::policies(workspace)?;
    let rust = "policies/rust/target/wasm32-unknown-unknown/release/policy.wasm";
    let rust = composed + bytes(&workspace.target().join(rust))?;
    Ok(vec![
        Figure::new(
            "Spin home: encrypts a second, a fresh instance each",
            "/s",
            Goal::AtLeast(2000.0),
            fresh.0,
        ),
        Figure::new("Spin home: encrypts a second, instances reused", "/s", Goal::AtLeast(2000.0), reused.0),
        Figure::new("Spin home: start to first answer", "s", Goal::AtMost(2.0), reused.1),
        Figure::new("Spin home: size without a policy", "MB", Goal::Beside, vec![composed]),
        Figure::new("Spin home: size with Cedar", "MB", Goal::AtMost(6.0), vec![cedar]),
        Figure::new("the same, its document inside", "MB", Goal::AtMost(6.0), vec![configured]),
        Figure::new("Spin home: size with a small Rust policy", "MB", Goal::AtMost(1.5), vec![rust]),
    ])
}

fn bytes(path: &Path) -> Result<f64> {
    std::fs::metadata(path).map(|found| found.len() as f64 / MEGABYTE).map_err(file("can't read", path))
}

/// Encrypts a second, and seconds from the start to the first answer once the code is compiled.
fn rate(workspace: &Workspace, bench: &Bench, reuse: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let folder = bench.folder();
    process::capture(Command::new(&bench.program).arg("spin-env").arg(folder))?;
    let start = || {
        let mut command = Command::new(workspace.program("holdfast-spin-host", Profile::Release));
        command.arg(workspace.components()).arg("--policy").arg(folder.join("spin-policy.wasm"));
        command.arg("--cache").arg(folder.join("spin-cache"));
        command.args(["--listen", &bench.address().to_string(), "--max-instance-reuse-count", reuse]);
        command.envs(variables(&folder.join("spin.env"))?);
        Server::run(command, &folder.join("spin.log"), bench.address(), Ready::Answers)
    };
    // Compiles.
    drop(start()?);
    let (mut rates, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let server = start()?;
        starts.push(server.started_in.as_secs_f64());
        rates.push(bench.load(&server, &LOAD)?.number("/requests_per_second")?);
    }
    Ok((rates, starts))
}

fn variables(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).map_err(file("can't read", path))?;
    let lines = text.lines().filter_map(|line| line.split_once("='"));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.trim_end_matches('\'').to_owned())).collect())
}
