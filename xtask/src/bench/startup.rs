//! From the start of the process to its first answer.

use super::figure::{Figure, Goal};
use super::run::Bench;
use crate::error::{Result, file};

pub const WHAT: &str = "from exec to the first 200 of /ping, key-file seal; cold has nothing compiled yet";

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..bench.length.runs {
        let cache = bench.cache();
        if cache.exists() {
            std::fs::remove_dir_all(&cache).map_err(file("can't remove", &cache))?;
        }
        cold.push(start(bench)?);
        warm.push(start(bench)? * 1000.0);
    }
    Ok(vec![
        Figure::new("warm start", "ms", Goal::AtMost(150.0), warm),
        Figure::new("cold start", "s", Goal::AtMost(10.0), cold),
    ])
}

/// In seconds.
fn start(bench: &Bench) -> Result<f64> {
    let server = bench.start()?;
    let seconds = server.started_in.as_secs_f64();
    server.stop()?;
    Ok(seconds)
}
