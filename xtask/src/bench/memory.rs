//! Resident memory.

use super::figure::{Figure, Goal};
use super::run::Bench;
use crate::error::Result;

pub const WHAT: &str = "resident memory when idle and with 1,024 connections";

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let (mut idle, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let server = bench.start()?;
        idle.push(mebibytes(server.resident_kib()?));
        let load = ["--connections", "1024", "--mix", "encrypt=1,decrypt=1"];
        connected.push(bench.load(&server, &load)?.number("/server/resident_kib_after")? / 1024.0);
        server.stop()?;
    }
    Ok(vec![
        Figure::new("resident memory, idle", "MiB", Goal::AtMost(80.0), idle),
        Figure::new("resident memory with 1,024 connections", "MiB", Goal::AtMost(150.0), connected),
    ])
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
