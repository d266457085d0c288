//! Recorded requests, decided again.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::figure::{Figure, Goal};
use super::project;
use super::run::Bench;
use crate::error::{Error, Result, file};
use crate::process;

pub const WHAT: &str = "a log of requests by 200 roles with 40 keys through 3 services, decided again by a Cedar policy of 20 rules";

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = bench.config().with_file_name("");
    let policy = project::write(&folder, "cedar-backtest", 20)?;
    let log = folder.join("recorded.jsonl");
    let records = bench.length.many_requests.min(1_000_000);
    record(&log, records)?;
    let (mut rates, mut decided) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let mut command = Command::new(&bench.program);
        command.args(["policy", "backtest", "--json", "--audit"]).arg(&log).arg(&policy);
        // It fails where decisions would change, after it printed how many.
        let done = process::output(&mut command)?;
        let report: Value = serde_json::from_slice(&done.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&done.stderr);
            Error::Unexpected(format!("`policy backtest --json` printed no JSON: {error}: {}", said.trim()))
        })?;
        rates.push(report["decisions_a_second"].as_f64().unwrap_or(0.0));
        decided.push(records as f64 - report["decisions"].as_f64().unwrap_or(0.0));
    }
    std::fs::remove_file(&log).map_err(file("can't remove", &log))?;
    Ok(vec![
        Figure::new("decisions a second of a backtest", "/s", Goal::AtLeast(50_000.0), rates),
        Figure::new("records that it left out", "records", Goal::AtMost(0.0), decided),
    ])
}

/// Writes records as the host does; the same on every machine.
fn record(path: &Path, count: u64) -> Result<()> {
    let created = std::fs::File::create(path).map_err(file("can't create", path))?;
    let mut log = BufWriter::new(created);
    let (mut state, mut line) = (1_u64, String::new());
    // A linear congruential generator (Knuth, MMIX); its upper bits are even enough here.
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let digest = "0".repeat(64);
    for number in 0..count {
        let (role, session, key) = (next(200), next(500), next(40));
        let operation = if next(3) == 0 { "Encrypt" } else { "Decrypt" };
        let service = if next(2) == 0 { "ebs" } else { "rds" };
        line.clear();
        let written = writeln!(
            line,
            "{{\"schema\":1,\"time\":\"2026-03-01T00:00:00.000Z\",\"keyStore\":\"demo\",\"accessKeyId\":\"AAAAAAAAAAAAAAAAAAAA\",\
             \"operation\":\"{operation}\",\"keyId\":\"key-{key}\",\"policyTime\":{},\"client\":\"127.0.0.1:4444\",\
             \"requestMetadata\":{{\"awsPrincipalArn\":\"arn:aws:sts::111122223333:assumed-role/Role{role}/i-{session:017x}\",\
             \"kmsKeyArn\":\"arn:aws:kms:eu-central-1:111122223333:key/0123\",\"kmsOperation\":\"{operation}\",\
             \"kmsRequestId\":\"{number:036}\",\"kmsViaService\":\"{service}\"}},\"decrypts\":[1,1,1,1],\
             \"policy\":{{\"effect\":\"deny\",\"rules\":[],\"component\":\"{digest}\",\"revision\":\"{digest}\"}},\
             \"status\":200,\"microseconds\":200}}",
            1_800_000_000 + number / 1800,
        );
        written.map_err(|error| Error::Unexpected(error.to_string()))?;
        log.write_all(line.as_bytes()).map_err(file("can't write", path))?;
    }
    log.flush().map_err(file("can't write", path))
}
