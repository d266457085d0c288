//! What a decision costs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::figure::{Figure, Goal};
use super::project;
use super::run::Bench;
use crate::build::languages;
use crate::error::{Error, Result};
use crate::process;
use crate::workspace::Workspace;

pub const WHAT: &str = "a decision by the same policy in each language and by Cedar with more rules: in a fresh instance (CPU, both cores \
                        deciding), from the cache, and in an instance that has decided before, which the host never uses";

pub fn measure(workspace: &Workspace, bench: &Bench) -> Result<Vec<Figure>> {
    let missing = languages::policies(workspace)?;
    missing.iter().for_each(|missing| crate::report::note(format!("missing: {missing}")));
    let folder = bench.config().with_file_name("");
    let mut figures = Vec::new();
    for (rules, fresh, cached, limit) in [
        (20, "Cedar, 20 rules, fresh", "Cedar, 20 rules, cached", 45.0),
        (100, "Cedar, 100 rules, fresh", "Cedar, 100 rules, cached", 150.0),
    ] {
        let path = project::write(&folder, &format!("cedar-{rules}"), rules)?;
        let reports = reports(bench, &path, 4000)?;
        figures.push(Figure::new(fresh, "us CPU", Goal::AtMost(limit), all(&reports, "fresh_cpu_us")));
        figures.push(Figure::new(cached, "us", Goal::AtMost(2.0), all(&reports, "cached_us")));
    }
    for (language, count, [fresh, warm, memory]) in [
        ("rust", 4000, ["Rust, fresh", "Rust, warm", "Rust, memory of an instance"]),
        ("javascript", 2000, ["JavaScript, fresh", "JavaScript, warm", "JavaScript, memory of an instance"]),
        ("python", 100, ["Python, fresh", "Python, warm", "Python, memory of an instance"]),
    ] {
        let path = workspace.target().join("policies").join(language);
        if !path.join(".built").is_file() {
            continue;
        }
        let reports = reports(bench, &path, count)?;
        figures.push(Figure::new(fresh, "us CPU", Goal::Beside, all(&reports, "fresh_cpu_us")));
        figures.push(Figure::new(warm, "us", Goal::Beside, all(&reports, "warm_us")));
        let memory_bytes =
            all(&reports, "memory_bytes").iter().map(|bytes| bytes / 1024.0 / 1024.0).collect();
        figures.push(Figure::new(memory, "MiB", Goal::Beside, memory_bytes));
    }
    Ok(figures)
}

fn reports(bench: &Bench, policy: &Path, count: usize) -> Result<Vec<Value>> {
    let one = |_| {
        let mut command = Command::new(&bench.program);
        command
            .args(["policy", "bench", "--json", "--threads", "2", "--count", &count.to_string()])
            .arg(policy);
        let text = process::capture(&mut command)?;
        serde_json::from_str(&text).map_err(|error| Error::Unexpected(format!("no JSON: {error}: {text}")))
    };
    (0..bench.length.runs).map(one).collect()
}

fn all(reports: &[Value], name: &str) -> Vec<f64> {
    reports.iter().filter_map(|report| report[name].as_f64()).collect()
}
