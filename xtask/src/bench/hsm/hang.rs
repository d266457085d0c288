//! HSMs that hang: one of two, and all.

use std::time::{Duration, Instant};

use super::{Behind, Hsms, Isolation, KMS_WAITS};
use crate::bench::figure::{Figure, Goal};
use crate::bench::run::{Length, MayFail, Report};
use crate::error::{Error, Result};
use crate::server::{Server, answers_ping};
use crate::workspace::Workspace;

use super::token::HsmBench;

pub const WHAT: &str =
    "C_Encrypt hangs at 500 requests a second, in one HSM of two and in all; worker processes";

const HANG: &str = "C_Encrypt hang\n";
/// Before the hang begins, so that the load is under way.
const LEAD: Duration = Duration::from_millis(500);
const RATE: [&str; 8] = ["--rate", "500", "--connections", "64", "--principals", "100", "--mix", "encrypt=1"];
const RECOVERY: Duration = Duration::from_secs(20);

pub fn measure(workspace: &Workspace, length: Length) -> Result<Vec<Figure>> {
    let hsms = Hsms { count: 2, sessions: 16, isolation: Isolation::Process, behind: Behind::FaultModule };
    let made = hsms.make(workspace, length)?;
    let mut figures = one_of_two(&made, length)?;
    figures.extend(all(&made, length)?);
    Ok(figures)
}

/// A load of so many seconds, during which HSMs begin to hang.
fn load_into_hang(made: &HsmBench, server: &Server, seconds: &str, hanging: &[&str]) -> Result<Report> {
    std::thread::scope(|scope| {
        let begin = scope.spawn(|| {
            std::thread::sleep(LEAD);
            hanging.iter().try_for_each(|name| made.fault(name, HANG))
        });
        let arguments = [RATE.as_slice(), &["--seconds", seconds]].concat();
        let report = made.bench.load_that(MayFail::Yes, server, &arguments);
        begin.join().map_err(|_| Error::Unexpected("the thread that hangs HSMs panicked".into()))??;
        report
    })
}

fn one_of_two(made: &HsmBench, length: Length) -> Result<Vec<Figure>> {
    let (mut slowest, mut first, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..length.runs {
        let server = made.bench.start()?;
        let beginning = load_into_hang(made, &server, "1.5", &["hsm-0"])?;
        // 500 of them were due in the second of the hang.
        first.push(beginning.errors() / 500.0 * 100.0);
        let later = made.bench.load_that(MayFail::Yes, &server, &RATE)?;
        after.push(later.errors());
        slowest.push(beginning.latency("max_us")?.max(later.latency("max_us")?) / 1000.0);
        made.fault("hsm-0", "")?;
        server.stop()?;
    }
    Ok(vec![
        Figure::new("one HSM of two hangs: the slowest answer", "ms", Goal::AtMost(KMS_WAITS), slowest),
        Figure::new("one HSM of two hangs: refusals in the first second", "%", Goal::AtMost(1.0), first),
        Figure::new("one HSM of two hangs: refusals after that", "requests", Goal::AtMost(0.0), after),
    ])
}

fn all(made: &HsmBench, length: Length) -> Result<Vec<Figure>> {
    let (mut slowest, mut health, mut ping, mut growth, mut back) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..length.runs {
        let server = made.bench.start()?;
        let before = server.resident_kib()?;
        let report = load_into_hang(made, &server, &format!("{}", length.seconds), &["hsm-0", "hsm-1"])?;
        slowest.push(report.latency("max_us")? / 1000.0);
        let asked = ["--mix", "health=1", "--rate", "200", "--connections", "4"];
        let asked = made.bench.load_that(MayFail::Yes, &server, &asked)?;
        health.push(asked.latency("max_us")? / 1000.0);
        ping.push(slowest_ping(made)?);
        growth.push((server.resident_kib()? as f64 - before as f64) / 1024.0);
        for name in ["hsm-0", "hsm-1"] {
            made.fault(name, "")?;
        }
        back.push(seconds_until_served(made)?);
        server.stop()?;
    }
    Ok(vec![
        Figure::new("all HSMs hang: the slowest answer", "ms", Goal::AtMost(KMS_WAITS), slowest),
        Figure::new("all HSMs hang: the slowest health answer", "ms", Goal::AtMost(20.0), health),
        Figure::new("all HSMs hang: the slowest /ping of 100", "ms", Goal::AtMost(20.0), ping),
        Figure::new("all HSMs hang: growth of memory", "MiB", Goal::AtMost(16.0), growth),
        Figure::new("all HSMs hang: served after their return", "s", Goal::AtMost(2.0), back),
    ])
}

fn slowest_ping(made: &HsmBench) -> Result<f64> {
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let began = Instant::now();
        match answers_ping(made.bench.address()) {
            Ok(false) => slowest = slowest.max(began.elapsed()),
            Ok(true) => return Err(Error::Unexpected("/ping says 200 while all HSMs hang".into())),
            Err(error) => return Err(Error::Unexpected(format!("/ping gets no answer: {error}"))),
        }
    }
    Ok(slowest.as_secs_f64() * 1000.0)
}

fn seconds_until_served(made: &HsmBench) -> Result<f64> {
    let began = Instant::now();
    while !answers_ping(made.bench.address()).unwrap_or(false) {
        if began.elapsed() > RECOVERY {
            return Err(Error::TimedOut {
                command: "/ping after the HSMs came back".into(),
                seconds: RECOVERY.as_secs(),
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed().as_secs_f64())
}
