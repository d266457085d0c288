//! Keys in HSMs: SoftHSM2 as it is, and behind the tests' fault module where it has to be slow or to hang.

pub mod hang;
pub mod many;
pub mod price;
pub mod slow;
mod token;

use crate::error::Result;
use crate::process;
use crate::report::step;
use crate::setup;
use crate::workspace::Workspace;
use token::{Behind, Hsms, Isolation};

/// SoftHSM2, and the fault module.
pub fn prepare(workspace: &Workspace) -> Result<()> {
    step("set up: SoftHSM2", "the HSM that is measured", || setup::softhsm2().map(drop))?;
    step("build: the fault module", "for HSMs that are slow or hang", || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--package", "holdfast-fault-module", "--release"]);
        process::run(&mut cargo)
    })
}

/// In milliseconds: what AWS KMS waits.
const KMS_WAITS: f64 = 250.0;
