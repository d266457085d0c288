//! `holdfast policy pack`.

use std::path::PathBuf;

use serde::Serialize;

use super::opened::{Opened, Place, block_on};
use crate::commands::new_file::{self, Mode};
use crate::commands::{CommandError, Output};
use holdfast_policy::artefact::{read_cases, run_cases};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The policy is loaded and its tests are run first; --untested leaves that out.

Example:
  holdfast policy pack payments --to payments-1.2.0.wasm")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The file to make [default: NAME-VERSION.wasm]
    #[arg(long = "to", value_name = "FILE")]
    to: Option<PathBuf>,
    /// Don't load it and don't run its tests
    #[arg(long)]
    untested: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error("{0} of its test cases fail (`holdfast policy test` shows which), so it isn't packed")]
    Tests(usize),
    #[error("a component on its own has nothing to pack; make a folder with policy.toml")]
    Alone,
}

#[derive(Serialize)]
struct Packed<'a> {
    file: &'a PathBuf,
    sha256: &'a str,
    size: usize,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let opened = Opened::read(&arguments.place.path)?;
    let manifest = opened.artefact.manifest.as_ref().ok_or(PackError::Alone)?;
    if !arguments.untested {
        let cases = read_cases(&opened.artefact.tests)?;
        let report = block_on(async {
            let policy = opened.load(&arguments.place.path, 0).await?;
            Ok(run_cases(&policy, &cases).await)
        })?;
        if !report.is_ok() {
            return Err(PackError::Tests(report.failed.len()).into());
        }
    }
    let named = || PathBuf::from(format!("{}-{}.wasm", manifest.name, manifest.version));
    let file = arguments.to.clone().unwrap_or_else(named);
    new_file::write(&file, &opened.artefact.encode()?, Mode::Public)?;
    let packed = Packed { file: &file, sha256: &opened.digest, size: opened.size };
    match arguments.json {
        true => output.json(&packed)?,
        false => {
            output.line(format_args!("{}  {}, {} bytes", file.display(), opened.title(), opened.size))?;
            output.line(format_args!("sha256 {}", opened.digest))?;
        }
    }
    Ok(())
}
