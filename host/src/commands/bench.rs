//! `holdfast bench`: load on a key store of one's own, measured.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use holdfast_client::load::{self, Mix, Pace, Plan, Progress};

use super::call::Unreachable;
use super::call::target::{Resolved, Target};
use crate::commands::{CommandError, Output, Usage};

/// `holdfast bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every answer is checked: ciphertexts and CDIVs decode, and decrypted plaintexts are those that were encrypted.
With --rate, latency counts from when a request was due, so a server that stalls can't hide it.

Exit codes: 0 all answers were as they should be; 1 some weren't; 2 wrong usage; 3 no answer.

Examples:
  holdfast bench --url http://127.0.0.1:8080 --credential kms.json --key demo --connections 16 --pid 1234
  holdfast bench --url http://127.0.0.1:8080 --credential kms.json --key demo \\
      --mix encrypt=1,decrypt=1 --rate 1800 --seconds 30")]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The external key id
    #[arg(long, value_name = "ID")]
    key: String,
    /// Kept-alive connections
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: usize,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Send at a fixed rate instead of as fast as the answers come
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// Stop after so many requests
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Shares of health, metadata, encrypt and decrypt
    #[arg(long, value_name = "MIX", default_value = "encrypt=1")]
    mix: Mix,
    /// Plaintext bytes
    #[arg(long, value_name = "BYTES", default_value_t = 32)]
    payload: usize,
    /// Additional authenticated data bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    aad: usize,
    /// Ask for the ciphertext data integrity value
    #[arg(long)]
    cdiv: bool,
    /// awsPrincipalArn; {} stands for 0 to --principals less 1
    #[arg(long, value_name = "PRINCIPAL", default_value = "arn:aws:iam::123456789012:role/bench-{}")]
    principal: String,
    /// How many principals take turns
    #[arg(long, value_name = "N", default_value_t = 100)]
    principals: usize,
    /// kmsViaService, such as ebs
    #[arg(long, value_name = "SERVICE")]
    via_service: Option<String>,
    /// Share of requests with a made-up signature, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    forged: f64,
    /// Share of requests without a signature, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    unsigned: f64,
    /// The server's process id, to tell CPU time and memory of it and of the processes that it started
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Allow a server on another machine
    #[arg(long)]
    i_own_this_server: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Some answers weren't as they should be; the report says which.
#[derive(Debug, thiserror::Error)]
#[error("not every answer was as it should be; see the report")]
struct Unclean;

/// Runs the load and prints the report.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let plan = plan(&arguments)?;
    let terminal = std::io::stderr().is_terminal();
    let result = load::run(plan, |progress| {
        if terminal {
            tell(progress);
        }
    });
    if terminal {
        let _ = write!(std::io::stderr(), "\x1b[K");
    }
    let report = result.map_err(|error| -> CommandError {
        match error {
            load::LoadError::Plan(error) => Usage(error.to_string()).into(),
            load::LoadError::Transport(error) => Unreachable(error).into(),
            load::LoadError::WarmUp(holdfast_client::CallError::Transport(error)) => {
                Unreachable(error).into()
            }
            error => error.into(),
        }
    })?;
    if arguments.json {
        output.json(&report)?
    } else {
        output.line(&report)?
    }
    // The report comes before the complaint about it.
    output.flush()?;
    if report.is_clean() { Ok(()) } else { Err(Unclean.into()) }
}

fn plan(arguments: &Arguments) -> Result<Plan, CommandError> {
    let Resolved { endpoint, trust, credential } = arguments.target.resolve()?;
    let duration = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|_| Usage("--seconds must be above 0 and at most 3600".into()))?;
    Ok(Plan {
        endpoint,
        trust,
        credential,
        region: arguments.target.region.clone(),
        key: arguments.key.clone(),
        connections: arguments.connections,
        threads: arguments.threads,
        pace: arguments.rate.map_or(Pace::Closed, Pace::Rate),
        duration,
        count: arguments.count,
        mix: arguments.mix,
        payload_bytes: arguments.payload,
        aad_bytes: arguments.aad,
        cdiv: arguments.cdiv,
        principal: arguments.principal.clone(),
        principals: arguments.principals,
        via_service: arguments.via_service.clone(),
        forged: arguments.forged,
        unsigned: arguments.unsigned,
        pid: arguments.pid,
        any_host: arguments.i_own_this_server,
    })
}

/// One line, written over each second; the cursor waits at its start, for whatever comes next.
fn tell(progress: Progress) {
    let Progress { elapsed, done, rate, failed } = progress;
    let seconds = elapsed.as_secs_f64();
    // Nobody is left to tell when the standard error is closed.
    let _ = write!(
        std::io::stderr(),
        "\x1b[K{seconds:4.0} s  {done} requests, {rate:.0} a second, {failed} failed\r"
    );
}
