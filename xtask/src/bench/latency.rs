//! Latency at KMS's default quota of a key store.

use super::figure::{Figure, Goal};
use super::run::Bench;
use crate::error::Result;

pub const WHAT: &str = "1,800 requests a second, encrypt and decrypt mixed, counted from when each was due";

const LOAD: [&str; 8] =
    ["--rate", "1800", "--connections", "16", "--principals", "100", "--mix", "encrypt=1,decrypt=1"];

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let server = bench.start()?;
    let (mut p50, mut p99, mut p999, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let report = bench.load(&server, &LOAD)?;
        p50.push(report.latency("p50_us")? / 1000.0);
        p99.push(report.latency("p99_us")? / 1000.0);
        p999.push(report.latency("p999_us")? / 1000.0);
        late.push(report.latency("over_250_ms")? + report.number("/unsent")?);
    }
    server.stop()?;
    Ok(vec![
        Figure::new("p50 at 1,800/s", "ms", Goal::AtMost(0.3), p50),
        Figure::new("p99 at 1,800/s", "ms", Goal::AtMost(1.0), p99),
        Figure::new("p99.9 at 1,800/s", "ms", Goal::AtMost(5.0), p999),
        Figure::new("over 250 ms or not sent at 1,800/s", "requests", Goal::AtMost(0.0), late),
    ])
}
