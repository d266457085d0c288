//! `holdfast policy backtest`: yesterday's real requests, decided by another policy.

mod changes;
mod log;
mod progress;
mod replay;

use std::path::PathBuf;

use serde::Serialize;

use super::opened::{Opened, Place, block_on};
use crate::commands::Changed;
use crate::commands::{CommandError, Output, Usage};
use changes::Group;
use holdfast_policy::artefact::parse_time;
use holdfast_policy::decide::ComponentPolicy;
use log::Log;
use progress::Progress;
use replay::{Choice, Replay};

/// Bytes of cached decisions: every decision of a day on a busy host.
const CACHE: usize = 256 * 1024 * 1024;
/// Rows that are shown; JSON has them all.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was decided then is in the records; they are compared with what the policy decides now. Records
that no policy decided (health, requests that were refused before) are left out.
Exit code 4 where an answer would change, 0 where none would.

Examples:
  holdfast policy backtest payments --audit /var/log/holdfast/audit.jsonl --last 1000000
  zcat audit.jsonl.*.gz | holdfast policy backtest payments --audit - --since 2026-03-01T00:00:00Z")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// An audit log; - is the standard input; may be repeated, the oldest first
    #[arg(long, value_name = "FILE", required = true)]
    audit: Vec<PathBuf>,
    /// Only the last so many records
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Only records from this time on, such as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Only records before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
    /// Only records of this key store
    #[arg(long, value_name = "NAME")]
    key_store: Option<String>,
    /// Threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<u64, String> {
    parse_time(text).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Report<'a> {
    policy: &'a str,
    records: u64,
    decisions: u64,
    unreadable: u64,
    undecided: u64,
    same: u64,
    now_allowed: u64,
    now_denied: u64,
    now_failing: u64,
    other_rules: u64,
    groups: &'a [Group],
    seconds: f64,
    decisions_a_second: f64,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let stdin = arguments.audit.iter().any(|path| path.as_os_str() == "-");
    if stdin && arguments.last.is_some() {
        return Err(
            Usage("--last needs files: the standard input has no end to count from".to_owned()).into()
        );
    }
    let opened = Opened::read(&arguments.place.path)?;
    let policy: ComponentPolicy = block_on(opened.load(&arguments.place.path, CACHE))?;
    let log = Log::open(&arguments.audit, arguments.last)?;
    let threads = arguments.threads.unwrap_or_else(processors).max(1);
    let choice = Choice {
        since: arguments.since.unwrap_or(0),
        until: arguments.until.unwrap_or(u64::MAX),
        key_store: arguments.key_store.clone(),
    };
    let progress = Progress::start(log.size());
    let (changes, elapsed) = Replay { policy, choice, threads }.run(log, progress)?;
    let groups = changes.groups();
    let seconds = elapsed.as_secs_f64();
    let report = Report {
        policy: &opened.digest,
        records: changes.records,
        decisions: changes.decisions,
        unreadable: changes.unreadable,
        undecided: changes.undecided,
        same: changes.same,
        now_allowed: changes.now_allowed,
        now_denied: changes.now_denied,
        now_failing: changes.now_failing,
        other_rules: changes.other_rules,
        groups: &groups,
        seconds,
        decisions_a_second: changes.decisions as f64 / seconds.max(1e-9),
    };
    match arguments.json {
        true => output.json(&report)?,
        false => show(&opened, &report, output)?,
    }
    match changes.changed() {
        0 => Ok(()),
        changed => Err(Changed(format!("{changed} of {} decisions would change", changes.decisions)).into()),
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn show(opened: &Opened, report: &Report<'_>, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("policy        {} ({})", opened.title(), report.policy))?;
    output.line(format_args!("records       {}", report.records))?;
    output.line(format_args!("decisions     {}", report.decisions))?;
    output.line(format_args!("same          {}", report.same))?;
    output.line(format_args!("now allowed   {}", report.now_allowed))?;
    output.line(format_args!("now denied    {}", report.now_denied))?;
    output.line(format_args!("now failing   {}", report.now_failing))?;
    output.line(format_args!("other rules   {} (the same answer)", report.other_rules))?;
    if report.undecided > 0 {
        let why = "no policy decided then, or facts weren't recorded that this one reads";
        output.line(format_args!("left out      {} ({why})", report.undecided))?;
    }
    if report.unreadable > 0 {
        output.line(format_args!("unreadable    {} lines", report.unreadable))?;
    }
    if report.groups.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let rows = report.groups.iter().take(SHOWN).map(|group| {
        [
            group.count.to_string(),
            group.change.to_owned(),
            group.key.clone(),
            group.principal.clone(),
            group.operation.to_owned(),
            format!("{} -> {}", rules(&group.before), rules(&group.after)),
            group.example.clone(),
        ]
    });
    output.table(["COUNT", "CHANGE", "KEY", "PRINCIPAL", "OPERATION", "RULES", "FIRST REQUEST"], rows)?;
    if report.groups.len() > SHOWN {
        output.line(format_args!("and {} more groups (--json has all)", report.groups.len() - SHOWN))?;
    }
    Ok(())
}

fn rules(rules: &[String]) -> String {
    if rules.is_empty() { "no rule".to_owned() } else { rules.join("+") }
}
