//! `holdfast-encode MODULE > COMPONENT`: makes a component of the core module that a compiler wrote.
//!
//! A program of its own, so that `cargo xtask` says its first word before wit-component is compiled: it is built beside the
//! components, and needed only when they are there. It never changes what the module does, and it validates what it writes.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wit_component::ComponentEncoder;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(module), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: holdfast-encode MODULE > COMPONENT");
        return ExitCode::from(2);
    };
    match encode(&module) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{}: {reason}", module.display());
            ExitCode::FAILURE
        }
    }
}

fn encode(module: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let module = std::fs::read(module)?;
    let component =
        ComponentEncoder::default().validate(true).module(&module).and_then(|mut encoder| encoder.encode());
    // The whole chain of reasons: which import, of which interface, is missing.
    stdout().write_all(&component.map_err(|error| format!("{error:?}"))?)?;
    Ok(())
}
