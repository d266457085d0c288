//! Millions of calls, with a software key and with one in an HSM: nothing of the host and its worker process grows.

use std::path::Path;
use std::time::Duration;

use super::{Behind, Hsms, Isolation};
use crate::bench::figure::{Figure, Goal};
use crate::bench::run::Bench;
use crate::error::Result;
use crate::server::Server;
use crate::workspace::Workspace;

pub const WHAT: &str = "memory, threads, open files and processes over many encryptions and decryptions, with a software key and with SoftHSM2";

const LOAD: [&str; 6] = ["--connections", "16", "--principals", "100", "--mix", "encrypt=1,decrypt=1"];

/// What the host and its children hold.
#[derive(Default)]
struct Held {
    resident_kib: u64,
    threads: usize,
    files: usize,
    processes: usize,
}

pub fn measure(workspace: &Workspace, software: &Bench) -> Result<Vec<Figure>> {
    let names = [
        "many calls of a software key: growth of memory",
        "the same: more threads",
        "the same: more open files",
        "the same: more processes",
    ];
    let mut figures = growth(software, names)?;
    let hsms = Hsms { count: 1, sessions: 16, isolation: Isolation::Process, behind: Behind::Nothing };
    let made = hsms.make(workspace, software.length)?;
    let names =
        ["many calls of an HSM: growth of memory", "more threads", "more open files", "more processes"];
    figures.extend(growth(&made.bench, names)?);
    Ok(figures)
}

/// Over the calls of one server with its children; what grows once has grown after a tenth of them.
fn growth(bench: &Bench, names: [&'static str; 4]) -> Result<Vec<Figure>> {
    let server = bench.start()?;
    let run = |count: u64| {
        let count = count.to_string();
        bench.load(&server, &[LOAD.as_slice(), &["--count", &count, "--seconds", "3600"]].concat())
    };
    run(bench.length.many_requests / 10)?;
    let before = held(&server);
    run(bench.length.many_requests)?;
    let after = held(&server);
    server.stop()?;
    let more = |after: usize, before: usize| vec![after as f64 - before as f64];
    let resident = (after.resident_kib as f64 - before.resident_kib as f64) / 1024.0;
    let [memory, threads, files, processes] = names;
    Ok(vec![
        // What the allocator's arenas differ by from one moment to the next.
        Figure::new(memory, "MiB", Goal::AtMost(2.0), vec![resident]),
        Figure::new(threads, "threads", Goal::AtMost(0.0), more(after.threads, before.threads)),
        Figure::new(files, "files", Goal::AtMost(0.0), more(after.files, before.files)),
        Figure::new(processes, "processes", Goal::AtMost(0.0), more(after.processes, before.processes)),
    ])
}

/// Of the server and the processes that it started, at rest: the least that is seen within the time after which tokio ends
/// a thread that has no more blocking work.
fn held(server: &Server) -> Held {
    let mut least = held_now(server);
    for _ in 0..12 {
        std::thread::sleep(Duration::from_secs(1));
        let now = held_now(server);
        least.resident_kib = least.resident_kib.min(now.resident_kib);
        least.threads = least.threads.min(now.threads);
        least.files = least.files.min(now.files);
        least.processes = least.processes.min(now.processes);
    }
    least
}

fn held_now(server: &Server) -> Held {
    let mut held = Held::default();
    for pid in std::iter::once(server.pid()).chain(children(server.pid())) {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        held.resident_kib += number("VmRSS:");
        held.threads += usize::try_from(number("Threads:")).unwrap_or(0);
        held.files += std::fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
        held.processes += 1;
    }
    held
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |child: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.and_then(|parent| parent.trim().parse().ok()) == Some(pid)
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}
