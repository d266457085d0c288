//! `holdfast policy inspect`.

use serde::Serialize;

use super::opened::{Opened, Place, block_on};
use crate::commands::{CommandError, Output};
use holdfast_policy::Policy;
use holdfast_policy::artefact::{Manifest, Source, read_cases};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  holdfast policy inspect payments-1.2.0.wasm")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print one file of the document or the tests
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    print: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("it has no file {0:?}")]
struct NoFile(String);

#[derive(Serialize)]
struct Report<'a> {
    sha256: &'a str,
    size: usize,
    manifest: Option<&'a Manifest>,
    /// SHA-256 of the component alone: what audit records call it.
    component: &'a str,
    /// What audit records call the document.
    revision: &'a str,
    engine: &'a str,
    reads: &'a [&'static str],
    cacheable: bool,
    rules: &'a [String],
    document: Vec<&'a str>,
    tests: Vec<&'a str>,
    cases: usize,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let opened = Opened::read(&arguments.place.path)?;
    let artefact = &opened.artefact;
    if let Some(name) = &arguments.print {
        let file = artefact.document.iter().chain(&artefact.tests).find(|file| file.name == *name);
        let file = file.ok_or_else(|| NoFile(name.clone()))?;
        return Ok(output.bytes(file.text.as_bytes())?);
    }
    let identity = block_on(async {
        let policy = opened.load(&arguments.place.path, 0).await?;
        Ok(policy.identity().clone())
    })?;
    let names = |sources: &'_ [Source]| -> Vec<String> { sources.iter().map(|it| it.name.clone()).collect() };
    let (document, tests) = (names(&artefact.document), names(&artefact.tests));
    let report = Report {
        sha256: &opened.digest,
        size: opened.size,
        manifest: artefact.manifest.as_ref(),
        component: &identity.component,
        revision: &identity.revision,
        engine: &identity.engine,
        reads: &identity.reads,
        cacheable: identity.is_cacheable(),
        rules: &identity.rules,
        document: document.iter().map(String::as_str).collect(),
        tests: tests.iter().map(String::as_str).collect(),
        cases: read_cases(&artefact.tests)?.len(),
    };
    match arguments.json {
        true => output.json(&report)?,
        false => show(&opened, &report, output)?,
    }
    Ok(())
}

fn show(opened: &Opened, report: &Report<'_>, output: &mut Output) -> Result<(), CommandError> {
    let list = |items: &[&str]| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
    output.line(format_args!("policy     {}", opened.title()))?;
    if let Some(manifest) = report.manifest.filter(|manifest| !manifest.description.is_empty()) {
        output.line(format_args!("           {}", manifest.description.replace('\n', "\n           ")))?;
    }
    output.line(format_args!("sha256     {}", report.sha256))?;
    output.line(format_args!("size       {} bytes", report.size))?;
    output.line(format_args!("engine     {}", report.engine))?;
    output.line(format_args!("component  {}", report.component))?;
    output.line(format_args!("revision   {}", report.revision))?;
    output.line(format_args!("document   {}", list(&report.document)))?;
    output.line(format_args!("tests      {} ({} cases)", list(&report.tests), report.cases))?;
    let cached = if report.cacheable { "decisions are cached" } else { "decisions can't be cached" };
    output.line(format_args!("reads      {}; {cached}", list(report.reads)))?;
    for (number, rule) in report.rules.iter().enumerate() {
        output.line(format_args!("{:<9}  {rule}", if number == 0 { "rules" } else { "" }))?;
    }
    Ok(())
}
