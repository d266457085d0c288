//! `holdfast serve` as a child process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, file};

/// A cold start compiles the components.
const START_LIMIT: Duration = Duration::from_secs(120);
/// More than the host gives itself for a stop.
const STOP_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(1);

/// A running server; ended when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// From the start of the process until it was ready.
    pub started_in: Duration,
}

/// How a server is found ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It says that it listens.
    Listens,
    /// It answers `GET /ping` with 200 over plain HTTP.
    Answers,
}

impl Server {
    /// Starts `program` with a configuration that has it listen on `address`, and waits until it is ready.
    pub fn start(
        program: &Path,
        config: &Path,
        environment: &[(OsString, OsString)],
        address: SocketAddr,
        ready: Ready,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(config).envs(environment.iter().cloned());
        Self::run(command, &config.with_file_name("serve.log"), address, ready)
    }

    /// Starts another server that listens on `address`, and waits until it is ready.
    pub fn run(mut command: Command, log: &Path, address: SocketAddr, ready: Ready) -> Result<Self> {
        let log = log.to_owned();
        let out = File::create(&log).map_err(file("can't create", &log))?;
        let err = out.try_clone().map_err(file("can't open", &log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|source| Error::Start { command: crate::process::line(&command), source })?;
        let mut server = Self { child, address, log, started_in: Duration::ZERO };
        server.wait_until(ready, started)?;
        server.started_in = started.elapsed();
        Ok(server)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let text = std::fs::read_to_string(&path).map_err(file("can't read", path))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number =
            line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        number.ok_or_else(|| Error::Unexpected("/proc/PID/status has no VmRSS".into()))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it logs.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Asks it to stop (SIGTERM), waits for its end, and returns how it ended and how long that took.
    pub fn stop(mut self) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        // SAFETY: kill touches no memory; the child hasn't been waited for, so the id is still its own.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        while started.elapsed() < STOP_LIMIT {
            let ended = self.child.try_wait().map_err(file("can't wait for", "holdfast serve"))?;
            if let Some(status) = ended {
                return Ok((status, started.elapsed()));
            }
            std::thread::sleep(POLL);
        }
        Err(Error::TimedOut {
            command: "holdfast serve, asked to stop".into(),
            seconds: STOP_LIMIT.as_secs(),
        })
    }

    fn wait_until(&mut self, ready: Ready, started: Instant) -> Result<()> {
        while started.elapsed() < START_LIMIT {
            let ended = self.child.try_wait().map_err(file("can't wait for", "holdfast serve"))?;
            if let Some(status) = ended {
                let output = format!(":\n{}", self.log().trim_end());
                return Err(Error::Failed { command: "holdfast serve".into(), status, output });
            }
            let is_ready = match ready {
                Ready::Listens => self.log().lines().any(|line| line.starts_with("listening on ")),
                Ready::Answers => answers_ping(self.address).unwrap_or(false),
            };
            if is_ready {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(Error::TimedOut { command: "holdfast serve, until ready".into(), seconds: START_LIMIT.as_secs() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already if it was stopped; otherwise an error is on its way and this is all that is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `GET /ping` is answered with 200.
pub fn answers_ping(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(
        format!("GET /ping HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// A loopback address whose port nobody listens on just now.
pub fn free_address() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(file("can't listen on", "127.0.0.1"))?;
    listener.local_addr().map_err(file("can't listen on", "127.0.0.1"))
}

/// An empty folder under the target folder; what an earlier run left there is removed.
pub fn scratch(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        std::fs::remove_dir_all(&path).map_err(file("can't remove", &path))?;
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(file("can't create", parent))?;
    }
    Ok(path)
}
