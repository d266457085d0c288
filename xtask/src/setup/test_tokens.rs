//! PKCS#11 modules that the tests keep keys in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{apt, test_tools};
use crate::error::{Error, Result};
use crate::process;
use crate::report::note;
use crate::workspace::Workspace;

/// Compiling kryoptic on a slow machine that is busy.
const COMPILE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Where distributions put SoftHSM2's module.
const SOFTHSM2: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// What kryoptic's build scripts read: headers, and libclang to read them with.
const KRYOPTIC_NEEDS: [&str; 4] = ["libclang-dev", "libsqlite3-dev", "libssl-dev", "pkg-config"];

/// SoftHSM2's module, with `softhsm2-util` beside it.
pub fn softhsm2() -> Result<PathBuf> {
    let found = || {
        let module = SOFTHSM2.iter().map(Path::new).find(|path| path.is_file());
        module.filter(|_| process::is_installed("softhsm2-util")).map(Path::to_path_buf)
    };
    if let Some(module) = found() {
        note(format!("SoftHSM2: installed already: {}", module.display()));
        return Ok(module);
    }
    apt::install(&["softhsm2"])?;
    found()
        .ok_or_else(|| Error::Unexpected("the package softhsm2 has no module where it was looked for".into()))
}

/// OpenSC's pkcs11-tool, an independent program that uses PKCS#11 modules.
pub fn opensc() -> Option<String> {
    test_tools::tool("OpenSC", "opensc", || process::is_installed("pkcs11-tool"))
}

/// kryoptic's module, compiled by `tests/kryoptic`.
pub fn kryoptic(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target().join("kryoptic");
    let module = target.join("release/libholdfast_test_kryoptic.so");
    if !module.is_file() {
        // Whoever isn't Debian may have all of it by other names.
        if let Err(reason) = apt::install(&KRYOPTIC_NEEDS) {
            note(format!("going on without: {reason}"));
        }
        note("cargo build in tests/kryoptic: about a minute");
    }
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("tests/kryoptic"));
    cargo.args(["build", "--locked", "--release", "--target-dir"]).arg(&target);
    process::run_within(&mut cargo, COMPILE_LIMIT)?;
    Ok(module)
}
