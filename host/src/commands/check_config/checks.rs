//! What a check writes down.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Config, Problem};

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub file: PathBuf,
    /// No problems; there may be warnings.
    pub usable: bool,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// What was checked and is right.
    pub checked: Vec<String>,
}

/// A report being written about a configuration.
pub struct Checks<'a> {
    pub config: &'a Config,
    pub report: &'a mut Report,
}

impl Checks<'_> {
    pub fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.report.problems.push(self.config.problem(field, message));
    }

    pub fn warning(&mut self, field: &str, message: impl Into<String>) {
        self.report.warnings.push(self.config.problem(field, message));
    }

    pub fn right(&mut self, what: impl Into<String>) {
        self.report.checked.push(what.into());
    }
}
