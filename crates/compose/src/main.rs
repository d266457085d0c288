//! `holdfast-compose FOLDER > COMPONENT`: composes `sigv4.wasm`, `spin-gate.wasm`, `proxy.wasm` and `spin-front.wasm` of a
//! folder; the policy is left to Spin's manifest.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_compose::{Parts, compose};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: holdfast-compose FOLDER > COMPONENT");
        return ExitCode::from(2);
    };
    match write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{}: {reason}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let read =
        |name: &str| std::fs::read(folder.join(name)).map_err(|error| format!("can't read {name}: {error}"));
    let (sigv4, gate) = (read("sigv4.wasm")?, read("spin-gate.wasm")?);
    let (proxy, front) = (read("proxy.wasm")?, read("spin-front.wasm")?);
    let parts = Parts { sigv4: &sigv4, gate: &gate, proxy: &proxy, front: &front, policy: None };
    stdout().write_all(&compose(&parts)?)?;
    Ok(())
}
