//! Resident memory.

use super::figure::{Figure, Goal};
use super::run::Bench;
use super::throughput::LOAD;
use crate::error::Result;

pub const WHAT: &str = "resident memory when idle, with 1,024 connections, and over many requests";

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let (mut idle, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let server = bench.start()?;
        idle.push(mebibytes(server.resident_kib()?));
        let load = ["--connections", "1024", "--mix", "encrypt=1,decrypt=1"];
        connected.push(bench.load(&server, &load)?.number("/server/resident_kib_after")? / 1024.0);
        server.stop()?;
    }
    let server = bench.start()?;
    // What grows once (pools, caches of decisions and derived keys) has grown after a tenth.
    let some = (bench.length.many_requests / 10).to_string();
    bench.load(&server, &[LOAD.as_slice(), &["--count", &some, "--seconds", "3600"]].concat())?;
    let before = mebibytes(server.resident_kib()?);
    let many = bench.length.many_requests.to_string();
    bench.load(&server, &[LOAD.as_slice(), &["--count", &many, "--seconds", "3600"]].concat())?;
    let growth = mebibytes(server.resident_kib()?) - before;
    server.stop()?;
    Ok(vec![
        Figure::new("resident memory, idle", "MiB", Goal::AtMost(80.0), idle),
        Figure::new("resident memory with 1,024 connections", "MiB", Goal::AtMost(150.0), connected),
        // What the allocator's arenas differ by from one moment to the next.
        Figure::new(
            "growth over many requests (a million in a full run)",
            "MiB",
            Goal::AtMost(2.0),
            vec![growth],
        ),
    ])
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
