//! Requests that must be refused.

use super::figure::{Figure, Goal};
use super::run::Bench;
use crate::error::Result;

pub const WHAT: &str =
    "requests without or with a made-up signature, alone and as a flood beside legitimate ones";

/// 1,800 legitimate ones a second and four times as many forged ones.
const FLOOD: [&str; 8] =
    ["--rate", "9000", "--forged", "0.8", "--connections", "64", "--mix", "encrypt=1,decrypt=1"];

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let server = bench.start()?;
    let (mut unsigned, mut forged, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        unsigned.push(bench.load(&server, &["--connections", "16", "--unsigned", "1"])?.cpu_us()?);
        forged.push(bench.load(&server, &["--connections", "16", "--forged", "1"])?.cpu_us()?);
        beside.push(bench.load(&server, &FLOOD)?.latency("p99_us")? / 1000.0);
    }
    server.stop()?;
    Ok(vec![
        Figure::new("server CPU an unsigned request", "us", Goal::AtMost(35.0), unsigned),
        Figure::new("server CPU a forged request", "us", Goal::AtMost(35.0), forged),
        Figure::new("p99 of 1,800/s beside 7,200 forged/s", "ms", Goal::AtMost(5.0), beside),
    ])
}
