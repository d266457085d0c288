//! CPU a request and requests a second.

use super::figure::{Figure, Goal};
use super::run::Bench;
use crate::error::Result;

pub const WHAT: &str =
    "encrypt 32 bytes, 16 kept-alive connections, 100 principals; fresh instances, policy and audit included";

/// What is sent, here and where the sandbox is compared.
pub const LOAD: [&str; 8] =
    ["--connections", "16", "--principals", "100", "--payload", "32", "--mix", "encrypt=1"];

/// AWS's sample proxy in Rust on SoftHSM2 reaches 9,900 a second on two cores.
const AWS_SAMPLE_PER_SECOND: f64 = 9_900.0;

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let server = bench.start()?;
    let (mut cpu, mut rate) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let report = bench.load(&server, &LOAD)?;
        cpu.push(report.cpu_us()?);
        rate.push(report.number("/requests_per_second")?);
    }
    server.stop()?;
    Ok(vec![
        Figure::new("server CPU an encrypt", "us", Goal::AtMost(55.0), cpu),
        Figure::new("encrypts a second", "/s", Goal::AtLeast(1.8 * AWS_SAMPLE_PER_SECOND), rate),
    ])
}
