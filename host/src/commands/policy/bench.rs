//! `holdfast policy bench`.

use std::num::NonZeroUsize;
use std::time::Duration;

use holdfast_gate::query::Query;
use serde::Serialize;

use super::opened::{Opened, Place, block_on};
use crate::commands::{CommandError, Output};
use holdfast_policy::artefact::{Artefact, Question, read_cases};
use holdfast_policy::decide::{ComponentPolicy, Limits};
use holdfast_policy::make::{Load, Loader, cached_time, costs, fresh_times, warm_time};

/// Bytes of cached decisions.
const CACHE: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The queries are those of the policy's test cases. One thread decides one after the other, as it is
without load; --threads N shows what decisions at the same time cost each other. Instructions are
wasmtime's fuel, the same on every machine.

Example:
  holdfast policy bench payments --count 10000 --threads 2")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Decisions to measure
    #[arg(long, value_name = "N", default_value_t = 2000)]
    count: usize,
    /// Threads that decide at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
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
    threads: usize,
    snapshot: bool,
    fresh_cpu_us: f64,
    fresh_median_us: f64,
    fresh_p99_us: f64,
    warm_us: f64,
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

async fn measure(arguments: &Arguments, opened: &Opened, queries: &[Query]) -> Result<Report, CommandError> {
    let policy = opened.load(&arguments.place.path, CACHE).await?;
    let (count, threads) = (arguments.count.max(1), arguments.threads.get());
    // What is only slow once isn't a decision's time.
    fresh_times(&policy, queries, count.min(50)).await?;
    let before = cpu_time()?;
    let times = at_once(&policy, queries, count, threads)?;
    let cpu = cpu_time()?.saturating_sub(before) / u32::try_from(times.len().max(1)).unwrap_or(u32::MAX);
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    let first = queries.first().ok_or("there is no query")?;
    let cached = match holdfast_policy::Policy::identity(&policy).is_cacheable() {
        true => Some(cached_time(&policy, first, 10_000).await?),
        false => None,
    };
    let warm = warm_time(&policy, queries, u32::try_from(count).unwrap_or(u32::MAX).min(1000)).await?;
    let Artefact { component, document, .. } = &opened.artefact;
    let limits = Limits { loading_time: Duration::from_secs(60), ..Limits::default() };
    let counted = async |load: Load<'_>| costs(&load, queries).await;
    let costs = Loader::alone(None)?.prepare(component, document, limits, counted).await?;
    let instructions = || costs.iter().map(|cost| cost.instructions);
    Ok(Report {
        policy: opened.digest.clone(),
        queries: queries.len(),
        decisions: times.len(),
        threads,
        snapshot: policy.is_snapshot(),
        fresh_cpu_us: micros(cpu),
        fresh_median_us: micros(at(0.5)),
        fresh_p99_us: micros(at(0.99)),
        warm_us: micros(warm),
        cached_us: cached.map(micros),
        instructions_least: instructions().min().unwrap_or(0),
        instructions_most: instructions().max().unwrap_or(0),
        memory_bytes: costs.iter().map(|cost| cost.memory).max().unwrap_or(0),
    })
}

/// `count` decisions in fresh instances, shared among the threads; their times, sorted.
fn at_once(
    policy: &ComponentPolicy,
    queries: &[Query],
    count: usize,
    threads: usize,
) -> Result<Vec<Duration>, CommandError> {
    let each = count.div_ceil(threads);
    let one = || -> Result<Vec<Duration>, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(runtime.block_on(fresh_times(policy, queries, each))?)
    };
    let mut times = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| one().map_err(|error| error.to_string()))).collect();
        let mut times = Vec::with_capacity(each * threads.len());
        for thread in threads {
            let died = |_| CommandError::from("a thread that decides ended early");
            times.extend(thread.join().map_err(died)?.map_err(CommandError::from)?);
        }
        Ok::<_, CommandError>(times)
    })?;
    times.sort_unstable();
    Ok(times)
}

/// Of this process so far, in user and kernel mode.
fn cpu_time() -> Result<Duration, std::io::Error> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills in the structure that it is given.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: all of it is numbers, filled in above.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn show(opened: &Opened, report: &Report, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("policy        {} ({})", opened.title(), report.policy))?;
    output.line(format_args!(
        "queries       {}, {} decisions on {} threads",
        report.queries, report.decisions, report.threads
    ))?;
    output.line(format_args!(
        "fresh         CPU {:.1} us, median {:.1} us, p99 {:.1} us ({})",
        report.fresh_cpu_us,
        report.fresh_median_us,
        report.fresh_p99_us,
        if report.snapshot { "from a snapshot" } else { "configured each time: it imports from WASI" }
    ))?;
    output.line(format_args!(
        "warm          {:.1} us (in one instance after the other's decision; the host has none such)",
        report.warm_us
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
