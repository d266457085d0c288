//! One server, one load, one report.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{Error, Result, file};
use crate::process;
use crate::server::{Ready, Server, free_address, scratch};
use crate::workspace::{Profile, Workspace};

/// How much is run.
#[derive(Clone, Copy)]
pub struct Length {
    /// Runs of each figure; the median counts.
    pub runs: usize,
    /// Of one run.
    pub seconds: f64,
    /// Over which nothing may grow.
    pub many_requests: u64,
}

impl Length {
    /// For docs/performance.md; a run is 10 seconds and 5 million calls where nothing else is asked for.
    pub fn full(seconds: Option<u32>, calls: Option<u64>) -> Self {
        Self { runs: 5, seconds: seconds.map_or(10.0, f64::from), many_requests: calls.unwrap_or(5_000_000) }
    }

    /// To see where one stands.
    pub const QUICK: Self = Self { runs: 3, seconds: 3.0, many_requests: 20_000 };
}

/// A key store to measure.
pub struct Bench {
    /// The program as it is deployed.
    pub program: PathBuf,
    /// How much is run.
    pub length: Length,
    /// Variables of the server's environment.
    pub environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    address: SocketAddr,
}

impl Bench {
    /// Makes the key store: software keys, plain HTTP on loopback, no rate limit; the rest as `init` has it.
    pub fn new(workspace: &Workspace, length: Length) -> Result<Self> {
        Self::in_folder(workspace, length, "bench")
    }

    /// The same in another folder under the target folder.
    pub fn in_folder(workspace: &Workspace, length: Length, name: &str) -> Result<Self> {
        let program = workspace.holdfast(Profile::Release);
        let folder = scratch(workspace.target().join(name))?;
        let address = free_address()?;
        let mut init = Command::new(&program);
        init.arg("init").arg(&folder).args(["--plain-http", "--listen", &address.to_string()]);
        process::capture(init.arg("--components").arg(workspace.components()))?;
        let bench = Self { program, length, environment: Vec::new(), folder, address };
        let config = bench.config();
        let text = std::fs::read_to_string(&config).map_err(file("can't read", &config))?;
        let lines = text.lines().map(|line| match line.starts_with("rate_limit") {
            true => "rate_limit = 0\n".to_owned(),
            false => format!("{line}\n"),
        });
        std::fs::write(&config, lines.collect::<String>()).map_err(file("can't write", &config))?;
        Ok(bench)
    }

    /// The folder that `init` made.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("holdfast.toml")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The audit log.
    pub fn audit(&self) -> PathBuf {
        self.folder.join("audit.jsonl")
    }

    /// The configuration.
    pub fn config_text(&self) -> Result<String> {
        let config = self.config();
        std::fs::read_to_string(&config).map_err(file("can't read", &config))
    }

    /// Replaces the configuration.
    pub fn put_config(&self, text: &str) -> Result<()> {
        let config = self.config();
        std::fs::write(&config, text).map_err(file("can't write", &config))
    }

    /// The folder of compiled components.
    pub fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// Starts the server.
    pub fn start(&self) -> Result<Server> {
        self.start_program(&self.program)
    }

    /// Starts another build of it.
    pub fn start_program(&self, program: &Path) -> Result<Server> {
        // The records of earlier runs would only fill the disk.
        let audit = self.audit();
        if audit.exists() {
            std::fs::remove_file(&audit).map_err(file("can't remove", &audit))?;
        }
        Server::start(program, &self.config(), &self.environment, self.address, Ready::Answers)
    }

    /// Puts load on a server; `arguments` are those of `holdfast bench` besides target, key and process.
    pub fn load(&self, server: &Server, arguments: &[&str]) -> Result<Report> {
        self.load_that(MayFail::No, server, arguments)
    }

    /// The same, where answers may be refusals.
    pub fn load_that(&self, may_fail: MayFail, server: &Server, arguments: &[&str]) -> Result<Report> {
        let mut command = Command::new(&self.program);
        command.args(["bench", "--url", &format!("http://{}", self.address), "--key", "demo", "--json"]);
        command.arg("--credential").arg(self.folder.join("demo-credential.json"));
        command.args(["--pid", &server.pid().to_string()]).args(arguments);
        if !arguments.contains(&"--count") && !arguments.contains(&"--seconds") {
            command.args(["--seconds", &self.length.seconds.to_string()]);
        }
        // It fails where answers were refused, after it printed how many.
        let done = process::output(&mut command)?;
        let value = serde_json::from_slice(&done.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&done.stderr);
            Error::Unexpected(format!("`holdfast bench --json` printed no JSON: {error}: {}", said.trim()))
        })?;
        let report = Report(value);
        match done.status.success() || may_fail == MayFail::Yes {
            true => Ok(report),
            false => Err(Error::Failed {
                command: process::line(&command),
                status: done.status,
                output: format!(": {}", report.0["outcomes"]),
            }),
        }
    }
}

/// Whether requests may be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MayFail {
    /// Each is what is measured.
    Yes,
    /// Each is a failure of the measurement.
    No,
}

/// What `holdfast bench --json` measured.
pub struct Report(Value);

impl Report {
    /// A number by its place, such as `/server/cpu_us_per_request`.
    pub fn number(&self, pointer: &str) -> Result<f64> {
        let missing = || Error::Unexpected(format!("`holdfast bench --json` has no number at {pointer}"));
        self.0.pointer(pointer).and_then(Value::as_f64).ok_or_else(missing)
    }

    /// How many requests had another end than a right answer.
    pub fn errors(&self) -> f64 {
        let outcomes = self.0["outcomes"].as_array();
        let wrong = outcomes
            .into_iter()
            .flatten()
            .filter(|outcome| outcome["status"].as_u64() != Some(200) || !outcome["error_name"].is_null());
        wrong.filter_map(|outcome| outcome["count"].as_u64()).sum::<u64>() as f64
    }

    /// The server's CPU time a request, in us.
    pub fn cpu_us(&self) -> Result<f64> {
        self.number("/server/cpu_us_per_request")
    }

    /// Rightly signed requests that didn't get a 200.
    pub fn refused(&self) -> Result<f64> {
        let outcomes = self.0.pointer("/outcomes").and_then(Value::as_array);
        let missing = || Error::Unexpected("`holdfast bench --json` has no outcomes".into());
        let refused = outcomes.ok_or_else(missing)?.iter().filter(|outcome| outcome["status"] != 200);
        Ok(refused.filter_map(|outcome| outcome["count"].as_f64()).sum())
    }

    /// A latency of rightly signed requests in us, the worst of the operations, such as `p99_us`.
    pub fn latency(&self, name: &str) -> Result<f64> {
        let rows = self.0.pointer("/latency").and_then(Value::as_array);
        let signed = rows
            .into_iter()
            .flatten()
            .filter(|row| !matches!(row["kind"].as_str(), Some("forged" | "unsigned")));
        let worst = signed.filter_map(|row| row[name].as_f64()).fold(f64::NEG_INFINITY, f64::max);
        match worst.is_finite() {
            true => Ok(worst),
            false => Err(Error::Unexpected(format!("`holdfast bench --json` has no latency {name}"))),
        }
    }
}
