//! Finds or gets what is missing on this machine.

pub mod apt;
mod test_tokens;
pub mod test_tools;
pub mod wasm_target;

use std::path::PathBuf;

use crate::error::Result;
use crate::process;
use crate::report::step;
use crate::workspace::Workspace;
use wasm_target::Toolchain;

/// What the machine is set up for.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Building, and with it the demonstration.
    Build,
    /// The tests too.
    Test,
    /// Measuring.
    Bench,
}

/// What the tests can count on.
pub struct TestTools {
    /// A Python with the packages `cryptography` and `argon2-cffi`.
    pub python: Option<PathBuf>,
    /// Prometheus' promtool.
    pub promtool: Option<PathBuf>,
    /// SoftHSM2's PKCS#11 module.
    pub softhsm2: Option<PathBuf>,
    /// kryoptic's PKCS#11 module.
    pub kryoptic: Option<PathBuf>,
    /// What couldn't be got; tests that need it report themselves skipped.
    pub missing: Vec<String>,
}

/// Sets up for building. Quiet where nothing is missing.
pub fn for_build(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = wasm_target::installed(workspace) {
        return Ok(toolchain);
    }
    step("set up: a compiler for WebAssembly", "Holdfast's request logic runs as components", || {
        wasm_target::find_or_get(workspace)
    })
}

/// Sets up for the tests, beyond what building needs and [`kryoptic`].
pub fn for_test(workspace: &Workspace) -> Result<TestTools> {
    let mut missing = Vec::new();
    step(
        "set up: curl and openssl",
        "the tests sign requests and check certificates with other people's code",
        || {
            missing.extend(test_tools::curl());
            missing.extend(test_tools::openssl());
            Ok(())
        },
    )?;
    let python =
        step("set up: Python", "an independent decoder reads the keystore file in the tests", || {
            let what = "Python with cryptography and argon2-cffi";
            Ok(kept(test_tools::python(workspace), what, &mut missing))
        })?;
    let softhsm2 = step("set up: SoftHSM2 and OpenSC", "a token for the tests of keys in HSMs", || {
        missing.extend(test_tokens::opensc());
        Ok(kept(test_tokens::softhsm2(), "SoftHSM2", &mut missing))
    })?;
    let promtool = step("set up: promtool", "Prometheus judges what /metrics says", || {
        Ok(kept(test_tools::promtool(workspace), "promtool", &mut missing))
    })?;
    step("set up: clippy and rustfmt", "the code is checked by both", test_tools::lints)?;
    Ok(TestTools { python, promtool, softhsm2, kryoptic: None, missing })
}

/// Compiles kryoptic, another token, with PKCS#11 3.0: a minute, in a target folder of its own.
pub fn kryoptic(workspace: &Workspace, tools: &mut TestTools) -> Result<()> {
    tools.kryoptic = kept(test_tokens::kryoptic(workspace), "kryoptic", &mut tools.missing);
    Ok(())
}

/// What was got; or why not, for the list of what is missing.
fn kept(got: Result<PathBuf>, what: &str, missing: &mut Vec<String>) -> Option<PathBuf> {
    got.map_err(|reason| missing.push(format!("{what}: {reason}"))).ok()
}

/// SoftHSM2's PKCS#11 module.
pub fn softhsm2() -> Result<PathBuf> {
    test_tokens::softhsm2()
}

/// The task `setup`.
pub fn task(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    step("set up: a compiler for WebAssembly", "Holdfast's request logic runs as components", || {
        wasm_target::find_or_get(workspace)
    })?;
    match purpose {
        Purpose::Build => {}
        Purpose::Test => {
            let mut tools = for_test(workspace)?;
            step("set up: kryoptic", "another token for those tests", || kryoptic(workspace, &mut tools))?;
            for missing in tools.missing {
                println!("{} {missing}", crate::report::bad("missing:"));
            }
        }
        Purpose::Bench => step("set up: what measuring reads", "CPU time and memory of the server", || {
            let proc = std::path::Path::new("/proc/self/stat");
            match proc.exists() && process::is_installed("uname") {
                true => Ok(()),
                false => Err(crate::error::Error::Missing {
                    what: "/proc or uname".into(),
                    advice: "The figures are measured on Linux only.".into(),
                }),
            }
        })?,
    }
    Ok(())
}
