//! `holdfast check-config`: a configuration and everything that it names, checked as far as possible without serving.

mod checks;
mod files;
mod policies;
mod stored;
mod tls;

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CommandError, Output};
use crate::commands::ConfigFile;
use crate::config::{Config, ConfigError, Transport};
use checks::{Checks, Report};

/// `holdfast check-config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every problem is told with file, line, column and field. Warnings alone leave the exit code 0.

Example:
  holdfast check-config demo/holdfast.toml")]
pub struct Arguments {
    /// The configuration [default: --config, $HOLDFAST_CONFIG, else holdfast.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("{} can't be used: {count} problem{}", file.display(), if *.count == 1 { "" } else { "s" })]
    Unusable { file: PathBuf, count: usize },
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let file = arguments.file.unwrap_or_else(|| arguments.config.path());
    let mut report = check(&file)?;
    report.usable = report.problems.is_empty();
    match arguments.json {
        true => output.json(&report)?,
        false => show(&report, output)?,
    }
    match report.problems.len() {
        0 => Ok(()),
        count => Err(CheckError::Unusable { file, count }.into()),
    }
}

fn check(file: &Path) -> Result<Report, ConfigError> {
    let mut report = Report { file: file.to_owned(), ..Report::default() };
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(ConfigError::Invalid { problems }) => {
            report.problems = problems;
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.warnings.clone_from(&config.warnings);
    let mut checks = Checks { config: &config, report: &mut report };
    if let Transport::Tls(files) = &config.server.transport {
        tls::check(&mut checks, files);
    }
    stored::check(&mut checks);
    files::check(&mut checks);
    policies::check(&mut checks);
    Ok(report)
}

fn show(report: &Report, output: &mut Output) -> Result<(), CommandError> {
    for text in &report.checked {
        output.line(format_args!("right    {text}"))?;
    }
    for warning in &report.warnings {
        output.line(format_args!("warning  {warning}"))?;
    }
    for problem in &report.problems {
        output.line(format_args!("problem  {problem}"))?;
    }
    Ok(())
}
