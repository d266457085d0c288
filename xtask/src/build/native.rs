//! The programs that run natively.

use super::table::Which;
use crate::error::Result;
use crate::workspace::{Profile, Workspace};
use crate::{cargo, lanes};

/// The programs by which components are made of modules, and put together.
pub const ENCODE: &str = "holdfast-encode";
pub const COMPOSE: &str = "holdfast-compose";

/// Builds the program `holdfast`, in the profile of the tests with the [`tools`].
pub fn host(workspace: &Workspace, profile: Profile, which: Which) -> Result<()> {
    lanes::part("");
    let mut command = workspace.cargo();
    match profile {
        // The whole workspace's features, which are what the tests are compiled with: nothing twice.
        Profile::Dev => {
            command.args(["build", "--workspace", "--bin", "holdfast"]);
            tools_of(which).for_each(|tool| _ = command.args(["--bin", tool]));
        }
        Profile::Release => _ = command.args(["build", "--package", "holdfast", "--release"]),
    }
    cargo::run(&mut command)
}

/// Builds what makes components of modules, in the profile of the tests: it runs for a second.
pub fn tools(workspace: &Workspace, which: Which) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--workspace"]);
    tools_of(which).for_each(|tool| _ = command.args(["--bin", tool]));
    cargo::run(&mut command)
}

/// Builds all targets of all packages: tools, programs, tests.
pub fn all_targets(workspace: &Workspace) -> Result<()> {
    cargo::run(workspace.cargo().args(["build", "--workspace", "--all-targets"]))
}

fn tools_of(which: Which) -> impl Iterator<Item = &'static str> {
    let compose = (which != Which::Host).then_some(COMPOSE);
    std::iter::once(ENCODE).chain(compose)
}
