//! `holdfast component`: what a WebAssembly file is, asks for and offers, and whether the host would take it.

mod contract;
mod signature;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, OptLevel};

use super::{CommandError, Output};
use crate::config::Sha256Digest;
use signature::Interface;

/// `holdfast component`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show a component's world, imports, exports, digest and size, and whether the host would take it.
    #[command(after_help = "\
Exit code 1 where the host would not take it; the reasons are part of the answer.

Example:
  holdfast component inspect components/sigv4.wasm")]
    Inspect {
        /// A WebAssembly component, binary form
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// What `inspect` tells.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub file: PathBuf,
    pub sha256: String,
    /// In bytes.
    pub size: usize,
    /// The world of ours whose interfaces it has.
    pub world: Option<&'static str>,
    /// Where it belongs in the configuration.
    pub configured_as: Option<&'static str>,
    pub imports: Vec<Interface>,
    pub exports: Vec<Interface>,
    pub accepted: bool,
    /// Why it isn't accepted.
    pub reasons: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ComponentError {
    #[error("can't read {}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{} isn't a WebAssembly component: {reason}", file.display())]
    NoComponent { file: PathBuf, reason: String },
    #[error("the host would not take {}", .0.display())]
    Refused(PathBuf),
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let Action::Inspect { file, json } = arguments.action;
    let report = inspect(&file)?;
    match json {
        true => output.json(&report)?,
        false => show(&report, output)?,
    }
    match report.accepted {
        true => Ok(()),
        false => Err(ComponentError::Refused(file).into()),
    }
}

/// Reads and compiles a component. Nothing of it runs but what an instance runs by being made, within bounds.
pub(crate) fn inspect(file: &Path) -> Result<Report, ComponentError> {
    let bytes =
        std::fs::read(file).map_err(|source| ComponentError::Unreadable { file: file.to_owned(), source })?;
    let no_component = |reason: String| ComponentError::NoComponent { file: file.to_owned(), reason };
    // Next to nothing runs, so the quickest compilation is the best.
    let mut config = wasmtime::Config::new();
    config.cranelift_opt_level(OptLevel::None).consume_fuel(true);
    let engine = Engine::new(&config).map_err(|error| no_component(error.to_string()))?;
    let component =
        Component::from_binary(&engine, &bytes).map_err(|error| no_component(format!("{error:#}")))?;
    let ty = component.component_type();
    let imports: Vec<Interface> = ty.imports(&engine).map(|item| Interface::of(&engine, item)).collect();
    let exports: Vec<Interface> = ty.exports(&engine).map(|item| Interface::of(&engine, item)).collect();
    let mut verdict = contract::judge(&imports, &exports);
    if let (Some(contract), true) = (verdict.contract, verdict.reasons.is_empty()) {
        verdict.reasons.extend(contract.misfit(&engine, &component));
    }
    Ok(Report {
        file: file.to_owned(),
        sha256: Sha256Digest(Sha256::digest(&bytes).into()).to_string(),
        size: bytes.len(),
        world: verdict.contract.map(|contract| contract.world),
        configured_as: verdict.contract.map(|contract| contract.configured_as),
        imports,
        exports,
        accepted: verdict.reasons.is_empty(),
        reasons: verdict.reasons,
    })
}

fn show(report: &Report, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("file      {}", report.file.display()))?;
    output.line(format_args!("sha256    {}", report.sha256))?;
    output.line(format_args!("size      {} bytes", report.size))?;
    output.line(format_args!("world     {}", report.world.unwrap_or("none of Holdfast's")))?;
    interfaces("imports", &report.imports, output)?;
    interfaces("exports", &report.exports, output)?;
    match report.configured_as {
        Some(place) if report.accepted => output.line(format_args!("accepted  yes, as {place}"))?,
        _ => {
            output.line("accepted  no")?;
            for reason in &report.reasons {
                output.line(format_args!("          - {reason}"))?;
            }
        }
    }
    Ok(())
}

fn interfaces(heading: &str, interfaces: &[Interface], output: &mut Output) -> Result<(), CommandError> {
    if interfaces.is_empty() {
        output.line(format_args!("{heading:<8}  nothing"))?;
    }
    for (index, interface) in interfaces.iter().enumerate() {
        let heading = if index == 0 { heading } else { "" };
        output.line(format_args!("{heading:<8}  {}", interface.name))?;
        for function in &interface.functions {
            output.line(format_args!("            {function}"))?;
        }
    }
    Ok(())
}
