//! An HSM on a network: each encryption takes 5 ms.

use super::{Behind, Hsms, Isolation, KMS_WAITS};
use crate::bench::figure::{Figure, Goal};
use crate::bench::run::{Length, MayFail};
use crate::error::Result;
use crate::workspace::Workspace;

pub const WHAT: &str = "an HSM whose C_Encrypt takes 5 ms, 64 connections, 32 sessions, in a worker process";

const LOAD: [&str; 6] = ["--connections", "64", "--principals", "100", "--mix", "encrypt=1"];

pub fn measure(workspace: &Workspace, length: Length) -> Result<Vec<Figure>> {
    let hsms = Hsms { count: 1, sessions: 32, isolation: Isolation::Process, behind: Behind::FaultModule };
    let made = hsms.make(workspace, length)?;
    made.fault("hsm-0", "C_Encrypt delay 5\n")?;
    let server = made.bench.start()?;
    let (mut rate, mut slowest, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..length.runs {
        let report = made.bench.load_that(MayFail::Yes, &server, &LOAD)?;
        rate.push(report.number("/requests_per_second")?);
        slowest.push(report.latency("max_us")? / 1000.0);
        errors.push(report.errors());
    }
    server.stop()?;
    Ok(vec![
        Figure::new("HSM of 5 ms, 64 connections, 32 sessions", "/s", Goal::AtLeast(5000.0), rate),
        Figure::new("HSM of 5 ms: the slowest answer", "ms", Goal::AtMost(KMS_WAITS), slowest),
        Figure::new("HSM of 5 ms: refusals", "requests", Goal::AtMost(0.0), errors),
    ])
}
