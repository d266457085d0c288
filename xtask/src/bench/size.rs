//! What an edge image carries: the release program, and how many crates went into it.

use std::collections::BTreeSet;

use super::figure::{Figure, Goal};
use crate::error::{Result, file};
use crate::process;
use crate::workspace::{Profile, Workspace};

pub const WHAT: &str = "the release program as cargo leaves it and without its line tables, and the crates of which it is made, with \
                        those that only build it";

const MEGABYTE: f64 = 1_000_000.0;

pub fn measure(workspace: &Workspace) -> Result<Vec<Figure>> {
    let program = workspace.holdfast(Profile::Release);
    let size = |path: &std::path::Path| {
        std::fs::metadata(path).map(|found| found.len() as f64 / MEGABYTE).map_err(file("can't read", path))
    };
    let stripped = program.with_file_name("holdfast-stripped");
    process::capture(std::process::Command::new("strip").arg("-o").arg(&stripped).arg(&program))?;
    let mut tree = workspace.cargo();
    let tree = tree.args(["tree", "--package", "holdfast", "--edges", "normal,build", "--prefix", "none"]);
    let tree = process::capture(tree)?;
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(vec![
        Figure::new("size of the program", "MB", Goal::Beside, vec![size(&program)?]),
        Figure::new("without line tables", "MB", Goal::Beside, vec![size(&stripped)?]),
        Figure::new("crates", "crates", Goal::AtMost(245.0), vec![crates.len() as f64]),
    ])
}
