//! What the figures were measured on.

use std::process::Command;

use super::run::Length;
use crate::process;
use crate::workspace::Workspace;

/// The machine and the state of the checkout, as name and value.
pub fn describe(workspace: &Workspace, length: &Length) -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: u64 =
        field(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let rustc = process::capture(Command::new("rustc").arg("--version")).unwrap_or_default();
    vec![
        ("processor", format!("{}, {cores} cores", field(&read("/proc/cpuinfo"), "model name"))),
        ("memory", format!("{} GiB", kib.div_ceil(1024 * 1024))),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
        ("compiler", rustc.trim().to_owned()),
        ("commit", commit(workspace)),
        ("command", command()),
        (
            "runs",
            format!(
                "{} of {} s each; {} requests for growth",
                length.runs, length.seconds, length.many_requests
            ),
        ),
    ]
}

/// As it was given.
fn command() -> String {
    std::iter::once("cargo xtask".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

fn commit(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        process::capture(Command::new("git").current_dir(&workspace.root).args(arguments))
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|list| !list.trim().is_empty());
    let mark = if changed { ", with uncommitted changes" } else { "" };
    format!("{}{mark}", commit.trim())
}
