//! The task `test`: everything that has to hold.

mod output;

use std::io::BufRead;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::report::{bad, bold, dim, good, say, seconds};
use crate::workspace::Workspace;
use crate::{cargo, lanes, process, setup};
use output::Outcome;

/// How the whole run went, step by step.
#[derive(Default)]
struct Summary(Mutex<Vec<Step>>);

struct Step {
    name: &'static str,
    took: Duration,
    error: Option<Error>,
}

impl Summary {
    /// Does a step and remembers how it went; whether it succeeded.
    fn run(&self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        lanes::part(name);
        say(bold(format!("== {name}")));
        let started = Instant::now();
        let error = work().err();
        let succeeded = error.is_none();
        if let Some(error) = &error {
            say(format!("{} {error}", bad("failed:")));
        }
        self.steps().push(Step { name, took: started.elapsed(), error });
        succeeded
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the checks and the tests; with a filter only the tests whose names contain it.
pub fn task(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let started = Instant::now();
    let mut tools = setup::for_test(workspace)?;
    let summary = Summary::default();
    let mut outcome = Outcome::default();
    let mut languages = Vec::new();
    let mut built = false;

    // Neither lane fails: all that is wrong is wanted, not what is found first.
    let native = || {
        if filter.is_none() {
            summary.run("cargo fmt --check", || {
                process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
            });
        }
        // All targets of all packages: the features are then those that the tests are built with, and nothing is built
        // twice. The tests start the program `holdfast`, which `cargo test` alone wouldn't build for another package's.
        built = summary.run("build", || build::all_targets(workspace));
        if filter.is_none() {
            let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
            summary.run("cargo clippy", || cargo::run(workspace.cargo().args(clippy)));
        }
        Ok(())
    };
    let components = || {
        summary.run("kryoptic", || setup::kryoptic(workspace, &mut tools));
        summary.run("components", || build::modules(workspace, Which::All));
        summary.run("example policies", || {
            languages = build::languages::policies(workspace)?;
            Ok(())
        });
        Ok(())
    };
    lanes::both(("native", native), ("components", components))?;

    if built && summary.run("encode components", || build::encode(workspace, Which::All)) {
        summary.run("cargo test", || {
            let mut cargo = workspace.cargo();
            cargo.args(["test", "--workspace", "--no-fail-fast"]).args(filter).args(["--", "--show-output"]);
            tell_where(&tools, workspace, &mut cargo);
            read_through(workspace, &mut cargo, &mut outcome)
        });
    }
    let missing: Vec<String> = tools.missing.iter().cloned().chain(languages).collect();
    tell(&summary, started.elapsed(), &outcome, &missing);
    let steps = summary.steps();
    let failed: Vec<&str> = steps.iter().filter(|step| step.error.is_some()).map(|step| step.name).collect();
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
    if let Some(promtool) = &tools.promtool {
        cargo.env("HOLDFAST_TEST_PROMTOOL", promtool);
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

fn tell(summary: &Summary, total: Duration, outcome: &Outcome, missing: &[String]) {
    println!("\n{}", bold("== summary"));
    for Step { name, took, error } in summary.steps().iter() {
        let state = if error.is_none() { good("passed") } else { bad("FAILED") };
        println!("   {name:<20} {state}  {}", dim(seconds(*took)));
        if let Some(error) = error {
            println!("   {}", dim(error));
        }
    }
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
