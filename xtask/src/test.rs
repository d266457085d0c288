//! The task `test`: everything that has to hold.

mod output;

use std::io::BufRead;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::report::{bad, bold, dim, good, seconds};
use crate::workspace::Workspace;
use crate::{process, setup};
use output::Outcome;

/// How the whole run went, step by step.
#[derive(Default)]
struct Summary {
    steps: Vec<(&'static str, Duration, Option<Error>)>,
}

impl Summary {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        println!("{}", bold(format!("== {name}")));
        let started = Instant::now();
        let result = work();
        self.steps.push((name, started.elapsed(), result.err()));
    }
}

/// Runs the checks and the tests; with a filter only the tests whose names contain it.
pub fn task(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let tools = setup::for_test(workspace)?;
    let mut summary = Summary::default();
    let mut outcome = Outcome::default();

    summary.run("components", || build::components(workspace, Which::All));
    let mut languages = Vec::new();
    summary.run("example policies", || {
        languages = build::languages::policies(workspace)?;
        Ok(())
    });
    if filter.is_none() {
        summary
            .run("cargo fmt --check", || process::run(workspace.cargo().args(["fmt", "--all", "--check"])));
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        summary.run("cargo clippy", || process::run(workspace.cargo().args(clippy)));
    }
    // All targets of all packages: the features are then those that the tests are built with, and nothing is built twice.
    // The tests start the program `holdfast`, which `cargo test` alone would not build for another package's tests.
    summary.run("build", || process::run(workspace.cargo().args(["build", "--workspace", "--all-targets"])));
    let built = summary.steps.iter().all(|(name, _, error)| error.is_none() || name.starts_with("cargo"));
    if built {
        summary.run("cargo test", || {
            let mut cargo = workspace.cargo();
            cargo.args(["test", "--workspace", "--no-fail-fast"]).args(filter).args(["--", "--show-output"]);
            tell_where(&tools, workspace, &mut cargo);
            read_through(workspace, &mut cargo, &mut outcome)
        });
    }
    let missing: Vec<String> = tools.missing.iter().cloned().chain(languages).collect();
    tell(&summary, &outcome, &missing);
    let failed: Vec<&str> = summary.steps.iter().filter(|step| step.2.is_some()).map(|step| step.0).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::Unexpected(format!("failed: {}", failed.join(", ")))),
    }
}

/// Tells the tests where their tools are. An empty path is one that couldn't be got.
fn tell_where(tools: &setup::TestTools, workspace: &Workspace, cargo: &mut Command) {
    if let Some(python) = &tools.python {
        cargo.env("HOLDFAST_TEST_PYTHON", python);
    }
    cargo.env("HOLDFAST_SOFTHSM2", tools.softhsm2.clone().unwrap_or_default());
    cargo.env("HOLDFAST_KRYOPTIC", tools.kryoptic.clone().unwrap_or_default());
    cargo.env("HOLDFAST_FAULT_MODULE", workspace.fault_module());
}

/// Runs cargo, prints every line of it and reads along.
fn read_through(workspace: &Workspace, cargo: &mut Command, outcome: &mut Outcome) -> Result<()> {
    let log = workspace.target().join("test.log");
    let mut copy = std::fs::File::create(&log).map_err(file("can't create", &log))?;
    let (mut child, reader) = process::spawn_merged(cargo)?;
    for line in std::io::BufReader::new(reader).split(b'\n') {
        let line = line.map_err(file("can't read", "the output of cargo test"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        std::io::Write::write_all(&mut copy, format!("{line}\n").as_bytes())
            .map_err(file("can't write", &log))?;
        outcome.read(&line);
    }
    let status = child.wait().map_err(file("can't wait for", "cargo test"))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { command: process::line(cargo), status, output: String::new() }),
    }
}

fn tell(summary: &Summary, outcome: &Outcome, missing: &[String]) {
    println!("\n{}", bold("== summary"));
    for (name, time, error) in &summary.steps {
        let state = if error.is_none() { good("passed") } else { bad("FAILED") };
        println!("   {name:<20} {state}  {}", dim(seconds(*time)));
        if let Some(error) = error {
            println!("   {}", dim(error));
        }
    }
    let total = summary.steps.iter().map(|step| step.1).sum();
    println!("   {:<20} {}", "total", seconds(total));
    println!(
        "   {} tests passed, {} failed, {} ignored, {} reported themselves skipped",
        outcome.passed,
        outcome.failed,
        outcome.ignored,
        outcome.skipped.len()
    );
    for test in &outcome.failures {
        println!("   {} {test}", bad("failed:"));
    }
    for (test, reason) in &outcome.skipped {
        println!("   skipped: {test}: {reason}");
    }
    for tool in missing {
        println!("   {} {tool}", bad("missing:"));
    }
}
