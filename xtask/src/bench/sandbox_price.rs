//! The same pipeline with the components' logic linked natively, beside the sandboxed one.

use std::path::Path;

use super::figure::{Figure, Goal};
use super::run::Bench;
use super::throughput::LOAD;
use crate::error::Result;

pub const WHAT: &str = "CPU an encrypt with the proxy and sigv4 components sandboxed, by that with their logic linked natively; decisions are cached in both";

pub fn measure(bench: &Bench, native: &Path) -> Result<Vec<Figure>> {
    let mut ratios = Vec::new();
    // In turns, so that whatever else the machine does meets both.
    for _ in 0..bench.length.runs {
        let sandboxed = cpu_us(bench, &bench.program)?;
        let linked = cpu_us(bench, native)?;
        ratios.push(sandboxed / linked);
    }
    Ok(vec![Figure::new("sandboxed CPU by native CPU", "times", Goal::AtMost(1.6), ratios)])
}

fn cpu_us(bench: &Bench, program: &Path) -> Result<f64> {
    let server = bench.start_program(program)?;
    let cpu = bench.load(&server, &LOAD)?.cpu_us()?;
    server.stop()?;
    Ok(cpu)
}
