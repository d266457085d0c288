//! `holdfast policy diff`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use holdfast_gate::query::Decision;
use serde::Serialize;

use super::opened::{Opened, block_on};
use crate::commands::Changed;
use crate::commands::{CommandError, Output};
use holdfast_policy::artefact::{Case, Source, read_cases};
use holdfast_policy::{Policy, PolicyFailure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Decisions are compared on the test cases of both. Exit code 4 where anything differs.

Example:
  holdfast policy diff payments-1.1.0.wasm payments")]
pub struct Arguments {
    /// A policy's file, or a folder with policy.toml
    old: PathBuf,
    /// The same, to compare
    new: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What is only in one, or in both and not the same.
#[derive(Default, Serialize)]
struct Names {
    removed: Vec<String>,
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
}

impl Names {
    fn of<'a>(old: impl IntoIterator<Item = &'a str>, new: impl IntoIterator<Item = &'a str>) -> Names {
        let old: BTreeSet<&str> = old.into_iter().collect();
        let new: BTreeSet<&str> = new.into_iter().collect();
        let owned = |names: Vec<&&str>| names.into_iter().map(|name| (*name).to_owned()).collect();
        Names {
            removed: owned(old.difference(&new).collect()),
            added: owned(new.difference(&old).collect()),
            changed: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changed.is_empty()
    }
}

#[derive(Serialize)]
struct Report {
    old: String,
    new: String,
    component: bool,
    engine: Option<[String; 2]>,
    reads: Names,
    rules: Names,
    document: Names,
    tests: Names,
    decisions: Vec<Difference>,
    cases: usize,
}

#[derive(Serialize)]
struct Difference {
    case: String,
    old: String,
    new: String,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let (old, new) = (Opened::read(&arguments.old)?, Opened::read(&arguments.new)?);
    let report = block_on(compare(arguments, &old, &new))?;
    match arguments.json {
        true => output.json(&report)?,
        false => show(&report, output)?,
    }
    match report.old == report.new {
        true => Ok(()),
        false => Err(Changed("the two policies differ".to_owned()).into()),
    }
}

async fn compare(arguments: &Arguments, old: &Opened, new: &Opened) -> Result<Report, CommandError> {
    let before = old.load(&arguments.old, 0).await?;
    let after = new.load(&arguments.new, 0).await?;
    let (old_identity, new_identity) = (before.identity(), after.identity());
    let mut cases: Vec<Case> = read_cases(&old.artefact.tests)?;
    for case in read_cases(&new.artefact.tests)? {
        if !cases.iter().any(|known| known.name == case.name && known.query == case.query) {
            cases.push(case);
        }
    }
    let mut decisions = Vec::new();
    for case in &cases {
        let (old, new) = (before.decide(&case.query).await, after.decide(&case.query).await);
        let (old, new) = (describe(&old), describe(&new));
        if old != new {
            decisions.push(Difference { case: case.name.clone(), old, new });
        }
    }
    let names = |rules: &'_ [String]| rules.to_vec();
    let (old_rules, new_rules) = (names(&old_identity.rules), names(&new_identity.rules));
    Ok(Report {
        old: old.digest.clone(),
        new: new.digest.clone(),
        component: old_identity.component != new_identity.component,
        engine: (old_identity.engine != new_identity.engine)
            .then(|| [old_identity.engine.clone(), new_identity.engine.clone()]),
        reads: Names::of(old_identity.reads.iter().copied(), new_identity.reads.iter().copied()),
        rules: Names::of(old_rules.iter().map(String::as_str), new_rules.iter().map(String::as_str)),
        document: files(&old.artefact.document, &new.artefact.document),
        tests: files(&old.artefact.tests, &new.artefact.tests),
        decisions,
        cases: cases.len(),
    })
}

fn files(old: &[Source], new: &[Source]) -> Names {
    let mut names = Names::of(old.iter().map(|it| it.name.as_str()), new.iter().map(|it| it.name.as_str()));
    let differs = |it: &&Source| new.iter().any(|other| other.name == it.name && other.text != it.text);
    names.changed = old.iter().filter(differs).map(|it| it.name.clone()).collect();
    names
}

fn describe(decided: &Result<std::sync::Arc<Decision>, PolicyFailure>) -> String {
    match decided {
        Err(failure) => failure.to_string(),
        Ok(decision) => {
            let effect = holdfast_policy::artefact::effect_name(decision.effect);
            match decision.rules.as_slice() {
                [] => format!("{effect} (no rule applied)"),
                rules => format!("{effect} by {}", rules.join(", ")),
            }
        }
    }
}

fn show(report: &Report, output: &mut Output) -> Result<(), CommandError> {
    if report.old == report.new {
        return Ok(output.line(format_args!("the same: sha256 {}", report.old))?);
    }
    output.line(format_args!("- {}\n+ {}", report.old, report.new))?;
    if report.component {
        output.line("the component differs")?;
    }
    if let Some([old, new]) = &report.engine {
        output.line(format_args!("engine: {old} -> {new}"))?;
    }
    for (what, names) in [
        ("rules", &report.rules),
        ("reads", &report.reads),
        ("document", &report.document),
        ("tests", &report.tests),
    ] {
        if names.is_empty() {
            continue;
        }
        output.line(format_args!("{what}:"))?;
        for (mark, names) in [('-', &names.removed), ('+', &names.added), ('~', &names.changed)] {
            for name in names {
                output.line(format_args!("  {mark} {name}"))?;
            }
        }
    }
    output.line(format_args!("decisions: {} of {} cases differ", report.decisions.len(), report.cases))?;
    for Difference { case, old, new } in &report.decisions {
        output.line(format_args!("  {case}\n    - {old}\n    + {new}"))?;
    }
    Ok(())
}
