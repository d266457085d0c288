//! `holdfast policy test`.

use std::path::PathBuf;

use super::opened::{Opened, Place, block_on};
use crate::commands::{CommandError, Output};
use holdfast_policy::artefact::{Source, TestReport, read_cases, run_cases};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 1 where a case comes out otherwise, where there is no case, and with --every-rule where a
rule decided none.

Example:
  holdfast policy test payments --every-rule")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// More cases (TOML), besides the policy's own
    #[arg(long = "cases", value_name = "FILE")]
    cases: Vec<PathBuf>,
    /// Fail where a rule decided no case
    #[arg(long)]
    every_rule: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error("can't read {path}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "it has no test cases; name files of them in policy.toml, tests = [\"cases.toml\"], or by --cases"
    )]
    None,
    #[error("{failed} of {all} cases failed")]
    Failed { failed: usize, all: usize },
    #[error("{0} rules decided no case")]
    Uncovered(usize),
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let opened = Opened::read(&arguments.place.path)?;
    let mut tests = opened.artefact.tests.clone();
    for path in &arguments.cases {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TestError::Unreadable { path: path.clone(), source })?;
        tests.push(Source { name: path.display().to_string(), text });
    }
    let cases = read_cases(&tests)?;
    let report = block_on(async {
        let policy = opened.load(&arguments.place.path, 0).await?;
        Ok(run_cases(&policy, &cases).await)
    })?;
    if cases.is_empty() {
        return Err(TestError::None.into());
    }
    match arguments.json {
        true => output.json(&report)?,
        false => show(&report, output)?,
    }
    if !report.is_ok() {
        return Err(TestError::Failed { failed: report.failed.len(), all: cases.len() }.into());
    }
    match report.uncovered_rules.len() {
        uncovered if arguments.every_rule && uncovered > 0 => Err(TestError::Uncovered(uncovered).into()),
        _ => Ok(()),
    }
}

fn show(report: &TestReport, output: &mut Output) -> Result<(), CommandError> {
    for failure in &report.failed {
        output.line(format_args!("FAILED {}: {}", failure.file, failure.case))?;
        output.line(format_args!("       {}", failure.reason))?;
    }
    output.line(format_args!("{} passed, {} failed", report.passed, report.failed.len()))?;
    let (covered, uncovered) = (report.covered_rules.len(), report.uncovered_rules.len());
    output.line(format_args!("{covered} of {} rules decided a case", covered + uncovered))?;
    for rule in &report.uncovered_rules {
        output.line(format_args!("       no case for {rule}"))?;
    }
    Ok(())
}
