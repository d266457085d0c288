//! A host whose key store has its key in SoftHSM2 tokens.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bench::run::{Bench, Length};
use crate::error::{Error, Result, file};
use crate::process;
use crate::setup;
use crate::workspace::Workspace;

const PIN: &str = "1234-5678";
/// Rounds of a token's own speed.
const ROUNDS: &str = "20000";

/// Where the module's code runs.
#[derive(Clone, Copy)]
pub enum Isolation {
    Threads,
    Process,
}

/// What a host has between it and SoftHSM2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Nothing,
    FaultModule,
}

/// How the HSMs are.
pub struct Hsms {
    pub count: usize,
    pub sessions: usize,
    pub isolation: Isolation,
    pub behind: Behind,
}

/// A host and its HSMs.
pub struct HsmBench {
    pub bench: Bench,
    folder: PathBuf,
}

impl Hsms {
    /// Makes tokens and keys in a scratch folder. The keys of several tokens differ: only encryptions are measured there.
    pub fn make(&self, workspace: &Workspace, length: Length) -> Result<HsmBench> {
        let mut bench = Bench::in_folder(workspace, length, "bench-hsm")?;
        let folder = bench.config().with_file_name("tokens");
        std::fs::create_dir_all(&folder).map_err(file("can't create", &folder))?;
        let softhsm2 = folder.join("softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            folder.display()
        );
        std::fs::write(&softhsm2, text).map_err(file("can't write", &softhsm2))?;
        bench.environment.push(("SOFTHSM2_CONF".into(), softhsm2.clone().into()));
        let real = setup::softhsm2()?;
        let pin = folder.join("pin");
        std::fs::write(&pin, PIN).map_err(file("can't write", &pin))?;
        let made = HsmBench { bench, folder };
        let mut text = made.config_text()?;
        let names: Vec<String> = (0..self.count).map(|number| format!("hsm-{number}")).collect();
        // A table of Rust's strings is one of TOML's.
        text = text.replacen("[[key_store]]\n", &format!("[[key_store]]\nhsm = {names:?}\n"), 1);
        for name in &names {
            let mut init = Command::new("softhsm2-util");
            init.args(["--init-token", "--free", "--label", name, "--pin", PIN, "--so-pin", PIN]);
            process::capture(init.env("SOFTHSM2_CONF", &softhsm2))?;
            let module = match self.behind {
                Behind::Nothing => real.clone(),
                Behind::FaultModule => made.fault_module(workspace, name, &real, &softhsm2)?,
            };
            let isolation = match self.isolation {
                Isolation::Threads => "threads",
                Isolation::Process => "process",
            };
            // Writing to a String doesn't fail.
            let _ = write!(
                text,
                "\n[[hsm]]\nname = {name:?}\nmodule = {module:?}\ntoken_label = {name:?}\npin_file = {pin:?}\n\
                 isolation = {isolation:?}\nsessions = {}\ncreate_test_key = true\n\
                 environment = {{ SOFTHSM2_CONF = {softhsm2:?} }}\n",
                self.sessions
            );
        }
        let config = made.bench.config();
        std::fs::write(&config, text).map_err(file("can't write", &config))?;
        for name in &names {
            made.holdfast(&["hsm", "create-key", "demo", "--hsm", name])?;
        }
        Ok(made)
    }
}

impl HsmBench {
    fn config_text(&self) -> Result<String> {
        let config = self.bench.config();
        std::fs::read_to_string(&config).map_err(file("can't read", &config))
    }

    /// A copy of the fault module for one HSM; what its files hold is in tests/fault-module/src/lib.rs.
    fn fault_module(
        &self,
        workspace: &Workspace,
        name: &str,
        real: &Path,
        softhsm2: &Path,
    ) -> Result<PathBuf> {
        let folder = self.folder.join(format!("{name}-faults"));
        std::fs::create_dir_all(&folder).map_err(file("can't create", &folder))?;
        let library = workspace.target().join("release/libholdfast_fault_module.so");
        let module = folder.join("libfaults.so");
        std::fs::copy(&library, &module).map_err(file("can't copy", &library))?;
        // Each HSM has its own copy, and with it its own state, as if they were two makes.
        let own = folder.join("libreal.so");
        std::fs::copy(real, &own).map_err(file("can't copy", real))?;
        let settings = format!(
            "real {}\ncontrol {}\nstatus {}\nenv SOFTHSM2_CONF {}\n",
            own.display(),
            self.control(name).display(),
            folder.join("faults.status").display(),
            softhsm2.display()
        );
        let path = folder.join("libfaults.so.conf");
        std::fs::write(&path, settings).map_err(file("can't write", &path))?;
        self.fault(name, "")?;
        Ok(module)
    }

    fn control(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-faults/faults.control"))
    }

    /// Commands for an HSM's fault module, which holds them within 20 ms.
    pub fn fault(&self, name: &str, commands: &str) -> Result<()> {
        let control = self.control(name);
        // Renamed, so that no half is ever read.
        let new = control.with_extension("new");
        std::fs::write(&new, commands).map_err(file("can't write", &new))?;
        std::fs::rename(&new, &control).map_err(file("can't write", &control))
    }

    fn holdfast(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.bench.program);
        command.args(arguments).arg("--config").arg(self.bench.config());
        process::capture(command.envs(self.bench.environment.iter().cloned()))
    }

    /// What an encryption takes in a loop of one thread with a cached handle, in us.
    pub fn own_speed(&self) -> Result<f64> {
        let text =
            self.holdfast(&["hsm", "probe", "hsm-0", "--key", "demo", "--rounds", ROUNDS, "--json"])?;
        let report: Value = serde_json::from_str(&text).map_err(|error| {
            Error::Unexpected(format!("`holdfast hsm probe --json` printed no JSON: {error}"))
        })?;
        let missing = || Error::Unexpected("`holdfast hsm probe --json` measured no speed".into());
        report.pointer("/speed/encrypt_microseconds").and_then(Value::as_f64).ok_or_else(missing)
    }
}
