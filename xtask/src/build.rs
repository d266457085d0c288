//! Builds the components and the host.

mod component;
mod compose;
pub mod languages;
pub mod table;

use std::time::Instant;

use crate::error::Result;
use crate::report::{dim, seconds, step};
use crate::workspace::{Profile, Workspace};
use crate::{process, setup};

/// Which components to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that the host runs.
    Product,
    /// The tests' hostile ones too.
    All,
}

/// Builds components into `target/components`.
pub fn components(workspace: &Workspace, which: Which) -> Result<()> {
    let toolchain = setup::for_build(workspace)?;
    let mut list = table::product();
    if which == Which::All {
        list.extend(table::hostile(workspace)?);
    }
    let why = format!("sandboxed request logic, compiled by {}", toolchain.name());
    step("build: components", &why, || {
        for component in &list {
            let started = Instant::now();
            let built = component::build(workspace, &toolchain, component)?;
            tell(&component.name, &built, started);
        }
        let started = Instant::now();
        let composed = compose::build(workspace)?;
        tell(compose::NAME, &composed, started);
        Ok(())
    })
}

fn tell(name: &str, built: &component::Built, started: Instant) {
    let state = if built.changed { "new" } else { "unchanged" };
    println!(
        "   {name:<20} {:>9} bytes  sha256:{}  {}",
        built.size,
        built.sha256,
        dim(format!("{state}, {}", seconds(started.elapsed())))
    );
}

/// Builds the program `holdfast`.
pub fn host(workspace: &Workspace, profile: Profile) -> Result<()> {
    let why = match profile {
        Profile::Dev => "the native part: TLS, gate, keystore",
        Profile::Release => "the native part, optimised",
    };
    step("build: holdfast", why, || {
        let mut cargo = workspace.cargo();
        match profile {
            // The whole workspace's features, which are what the tests are compiled with: nothing twice.
            Profile::Dev => cargo.args(["build", "--workspace", "--bin", "holdfast"]),
            Profile::Release => cargo.args(["build", "--package", "holdfast", "--release"]),
        };
        process::run(&mut cargo)
    })
}

/// The task `build`.
pub fn task(workspace: &Workspace, profile: Profile) -> Result<()> {
    components(workspace, Which::All)?;
    host(workspace, profile)?;
    println!("{}", dim(format!("components: {}", workspace.components().display())));
    println!("{}", dim(format!("program:    {}", workspace.holdfast(profile).display())));
    Ok(())
}
