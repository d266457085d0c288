//! What a key in an HSM costs in CPU, of all processes together.

use super::{Behind, Hsms, Isolation};
use crate::bench::figure::{Figure, Goal};
use crate::bench::run::Length;
use crate::bench::throughput::LOAD;
use crate::error::Result;
use crate::workspace::Workspace;

pub const WHAT: &str = "encrypt 32 bytes on SoftHSM2, 16 connections; CPU of the host and its worker process, \
                        beside the token in a loop; each run is made of turns of one second";

const CASES: [(Isolation, f64, [&str; 4]); 2] = [
    (
        Isolation::Threads,
        80.0,
        [
            "SoftHSM2 in threads: CPU an encrypt",
            "SoftHSM2 in threads: more with a CDIV",
            "SoftHSM2 in threads: encrypts a second",
            "SoftHSM2 in a loop of one thread, an encrypt",
        ],
    ),
    (
        Isolation::Process,
        110.0,
        [
            "SoftHSM2 in a worker process: CPU an encrypt",
            "SoftHSM2 in a worker process: more with a CDIV",
            "SoftHSM2 in a worker process: encrypts a second",
            "SoftHSM2 in a loop of one thread, once more",
        ],
    ),
];

pub fn measure(workspace: &Workspace, length: Length) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (isolation, goal, [cpu_name, cdiv_name, rate_name, own_name]) in CASES {
        let hsms = Hsms { count: 1, sessions: 16, isolation, behind: Behind::Nothing };
        let made = hsms.make(workspace, length)?;
        let server = made.bench.start()?;
        let (mut cpu, mut cdiv, mut rate, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // Short ones in turns, so that whatever else the machine does meets both of a pair.
        let plainly = [LOAD.as_slice(), &["--seconds", "1"]].concat();
        let with_cdiv = [plainly.as_slice(), &["--cdiv"]].concat();
        for _ in 0..length.runs * (length.seconds.ceil() as usize) {
            let plain = made.bench.load(&server, &plainly)?;
            let verified = made.bench.load(&server, &with_cdiv)?;
            cpu.push(plain.cpu_us()?);
            cdiv.push(verified.cpu_us()? - plain.cpu_us()?);
            rate.push(plain.number("/requests_per_second")?);
            own.push(made.own_speed()?);
        }
        server.stop()?;
        figures.extend([
            Figure::new(cpu_name, "us", Goal::AtMost(goal), cpu),
            Figure::new(cdiv_name, "us", Goal::AtMost(25.0), cdiv),
            Figure::new(rate_name, "/s", Goal::Beside, rate),
            Figure::new(own_name, "us", Goal::Beside, own),
        ]);
    }
    Ok(figures)
}
