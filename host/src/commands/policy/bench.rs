//! `holdfast policy bench`.

use std::time::Duration;

use serde::Serialize;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::opened::{Opened, Place, block_on};
use crate::commands::{CommandError, Output};
use crate::policy::{Limits, Load, Question, Sandbox, cached_time, costs, fresh_times, read_cases};
use crate::sandbox::Ticker;

/// Bytes of cached decisions.
const CACHE: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The queries are those of the policy's test cases. One thread decides one after the other, as it is
without load; instructions are wasmtime's fuel, the same on every machine.

Example:
  holdfast policy bench payments --count 10000")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Decisions to measure
    #[arg(long, value_name = "N", default_value_t = 2000)]
    count: usize,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Times in microseconds.
#[derive(Serialize)]
struct Report {
    policy: String,
    queries: usize,
    decisions: usize,
    snapshot: bool,
    fresh_median_us: f64,
    fresh_p99_us: f64,
    cached_us: Option<f64>,
    instructions_least: u64,
    instructions_most: u64,
    memory_bytes: usize,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let opened = Opened::read(&arguments.place.path)?;
    let mut queries: Vec<_> =
        read_cases(&opened.artefact.tests)?.into_iter().map(|case| case.query).collect();
    if queries.is_empty() {
        let question = Question { operation: Some("Decrypt".to_owned()), ..Question::default() };
        queries.push(question.query()?);
    }
    let report = block_on(measure(arguments, &opened, &queries))?;
    match arguments.json {
        true => output.json(&report)?,
        false => show(&opened, &report, output)?,
    }
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    opened: &Opened,
    queries: &[holdfast_gate::query::Query],
) -> Result<Report, CommandError> {
    let policy = opened.load(&arguments.place.path, CACHE).await?;
    let count = arguments.count.max(1);
    // What is only slow once isn't a decision's time.
    fresh_times(&policy, queries, count.min(50)).await?;
    let times = fresh_times(&policy, queries, count).await?;
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    let first = queries.first().ok_or("there is no query")?;
    let cached = match crate::policy::Policy::identity(&policy).is_cacheable() {
        true => Some(cached_time(&policy, first, 10_000).await?),
        false => None,
    };
    let ticker = Ticker::start()?;
    let watch = |engine: &Engine| {
        ticker.add(engine);
        ticker.awake();
    };
    let compile = |engine: &Engine, bytes: &[u8]| Component::from_binary(engine, bytes);
    let load = Load {
        component: &opened.artefact.component,
        document: &opened.artefact.document,
        limits: Limits { loading_time: Duration::from_secs(60), ..Limits::default() },
        snapshots: None,
        sandbox: Sandbox { compile: &compile, watch: &watch },
    };
    let costs = costs(&load, queries).await?;
    let instructions = || costs.iter().map(|cost| cost.instructions);
    Ok(Report {
        policy: opened.digest.clone(),
        queries: queries.len(),
        decisions: count,
        snapshot: policy.is_snapshot(),
        fresh_median_us: micros(at(0.5)),
        fresh_p99_us: micros(at(0.99)),
        cached_us: cached.map(micros),
        instructions_least: instructions().min().unwrap_or(0),
        instructions_most: instructions().max().unwrap_or(0),
        memory_bytes: costs.iter().map(|cost| cost.memory).max().unwrap_or(0),
    })
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn show(opened: &Opened, report: &Report, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("policy        {} ({})", opened.title(), report.policy))?;
    output.line(format_args!("queries       {}, {} decisions", report.queries, report.decisions))?;
    output.line(format_args!(
        "fresh         median {:.1} us, p99 {:.1} us ({})",
        report.fresh_median_us,
        report.fresh_p99_us,
        if report.snapshot { "from a snapshot" } else { "configured each time: it imports from WASI" }
    ))?;
    match report.cached_us {
        Some(time) => output.line(format_args!("cached        {time:.2} us"))?,
        None => output.line("cached        never: it reads a fact that has another value each time")?,
    }
    let (least, most) = (report.instructions_least, report.instructions_most);
    output.line(format_args!("instructions  {least} to {most}"))?;
    output.line(format_args!("memory        {} KiB", report.memory_bytes / 1024))?;
    Ok(())
}
