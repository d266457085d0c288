//! Builds the components and the program, both at once: their target folders are apart, and Cedar alone keeps one core busy
//! for minutes.

mod component;
pub mod expect;
pub mod languages;
mod native;
mod table;

use crate::error::Result;
use crate::report::{dim, step};
use crate::workspace::{Profile, Workspace};
use crate::{lanes, setup};

pub use native::{all_targets, host, tools};
pub use table::Which;

/// Does `native`, which has to leave the [`tools`], and builds components into `target/components` at the same time.
pub fn beside(workspace: &Workspace, which: Which, native: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    lanes::both(("program", native), ("components", || modules(workspace, which)))?;
    encode(workspace, which)
}

/// Builds components into `target/components`, once the [`tools`] are there.
pub fn components(workspace: &Workspace, which: Which) -> Result<()> {
    modules(workspace, which)?;
    encode(workspace, which)
}

/// Compiles the components' core modules.
pub fn modules(workspace: &Workspace, which: Which) -> Result<()> {
    let toolchain = setup::for_build(workspace)?;
    let list = table::chosen(workspace, which)?;
    for (index, component) in list.iter().enumerate() {
        lanes::part(format!("{} of {}: {}", index + 1, list.len(), component.name));
        component::compile(workspace, &toolchain, component)?;
    }
    Ok(())
}

/// Makes components of the [`modules`], with the [`tools`].
pub fn encode(workspace: &Workspace, which: Which) -> Result<()> {
    let folder = workspace.components();
    step("components", &format!("sandboxed request logic, in {}", folder.display()), || {
        for component in table::chosen(workspace, which)? {
            component::encode(workspace, &component)?.tell(&component.name);
        }
        if which != Which::Host {
            component::compose(workspace)?.tell(component::COMPOSED);
        }
        Ok(())
    })
}

/// The task `build`.
pub fn task(workspace: &Workspace, profile: Profile) -> Result<()> {
    let native = || {
        host(workspace, profile, Which::All)?;
        tools(workspace, Which::All)
    };
    beside(workspace, Which::All, native)?;
    println!("{}", dim(format!("components: {}", workspace.components().display())));
    println!("{}", dim(format!("program:    {}", workspace.holdfast(profile).display())));
    Ok(())
}
