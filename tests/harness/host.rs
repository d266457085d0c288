//! The running host.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use holdfast_client::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::setup::{Setup, run};
use crate::spin::Spin;
use crate::wait::{PATIENCE, wait_for};
use crate::{places, raw::Raw};

/// What signs.
#[derive(Clone)]
pub struct Credential {
    /// The public half.
    pub access_key_id: String,
    /// The other half; not in `Debug`.
    pub secret: String,
}

impl Credential {
    /// Reads the JSON file that the KMS console takes.
    pub fn of_kms_config(json: &[u8]) -> Credential {
        let json: Value = serde_json::from_slice(json).unwrap();
        let credential = &json["XksProxyAuthenticationCredential"];
        let text = |name: &str| credential[name].as_str().unwrap().to_owned();
        Credential { access_key_id: text("AccessKeyId"), secret: text("RawSecretAccessKey") }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A running `holdfast serve`. Ended by SIGTERM on drop; its log is printed when the test panics.
pub struct Host {
    folder: TempDir,
    home: PathBuf,
    tls: bool,
    metrics: u16,
    credentials: Vec<(String, Credential)>,
    environment: Vec<(String, String)>,
    spin: Option<Spin>,
    child: Child,
    address: SocketAddr,
}

impl Host {
    /// A host of this setup.
    #[track_caller]
    pub fn start(setup: Setup) -> Host {
        setup.start()
    }

    #[track_caller]
    pub(crate) fn serve(
        folder: TempDir,
        home: PathBuf,
        tls: bool,
        metrics: u16,
        credentials: Vec<(String, Credential)>,
        environment: Vec<(String, String)>,
        spin: Option<Spin>,
    ) -> Host {
        let (child, address) = spawn(&home, &environment, spin.as_ref());
        Host { folder, home, tls, metrics, credentials, environment, spin, child, address }
    }

    /// Ends the process, and has the same folder served by the composed component: [`Setup::spin`].
    #[track_caller]
    pub fn restart_in_spin(&mut self, program: &str, options: &[&str]) {
        self.spin = Some(Spin::new(program, options));
        self.restart();
    }

    /// Ends the process, and has the same folder served by the native host.
    #[track_caller]
    pub fn restart_natively(&mut self) {
        self.terminate();
        self.wait();
        self.spin = None;
        (self.child, self.address) = spawn(&self.home, &self.environment, None);
    }

    /// Whether the composed component serves, and not the native host.
    pub fn is_spin(&self) -> bool {
        self.spin.is_some()
    }

    /// Ends the process by SIGTERM and starts another in the same folder, on another port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.terminate();
        let status = self.wait();
        // The composed component's program doesn't handle the signal.
        assert!(self.is_spin() || status.success(), "{status}\n{}", self.log());
        (self.child, self.address) = spawn(&self.home, &self.environment, self.spin.as_ref());
    }

    /// The same by SIGKILL.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.signal(Signal::KILL);
        self.start_again();
    }

    /// Starts another process in the same folder, on another port, after the first has ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.wait();
        (self.child, self.address) = spawn(&self.home, &self.environment, self.spin.as_ref());
    }

    /// `http://127.0.0.1:PORT` or `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// The value of the `host` header.
    pub fn authority(&self) -> String {
        format!("{}:{}", if self.tls { "localhost" } else { "127.0.0.1" }, self.address.port())
    }

    /// The XksProxyUriPath of key store `demo`.
    pub fn uri_path(&self) -> &'static str {
        "/demo/kms/xks/v1"
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that `holdfast init` made.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A folder for the test's own files, gone with the host.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.home.join("holdfast.toml")
    }

    /// The development CA; there only with TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.home.join("tls/ca.pem")
    }

    /// Of key store `demo`.
    pub fn credential(&self) -> &Credential {
        self.credential_of("demo")
    }

    /// Of any key store of the setup.
    #[track_caller]
    pub fn credential_of(&self, key_store: &str) -> &Credential {
        let found = self.credentials.iter().find(|(name, _)| name == key_store);
        &found.unwrap_or_else(|| panic!("no key store {key_store}")).1
    }

    /// A client of key store `demo`, HTTP/1.1.
    pub fn client(&self) -> Client {
        self.client_of(Protocol::Http1)
    }

    /// A client of key store `demo`.
    pub fn client_of(&self, protocol: Protocol) -> Client {
        Client::new(self, self.uri_path(), self.credential(), "us-east-1", protocol)
    }

    /// A connection for bytes of the test's own.
    pub fn raw(&self) -> Raw {
        Raw::open(self)
    }

    /// Runs `holdfast ARGUMENTS --config ...` beside the host; its standard output.
    #[track_caller]
    pub fn holdfast(&self, arguments: &[&str]) -> String {
        run(Command::new(places::program()).args(arguments).arg("--config").arg(self.config_file()))
    }

    /// Runs `holdfast ARGUMENTS` as it is; its standard output.
    #[track_caller]
    pub fn holdfast_alone(&self, arguments: &[&str]) -> String {
        run(Command::new(places::program()).args(arguments))
    }

    /// What it wrote to its standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.home.join("stderr.log")).unwrap()).into_owned()
    }

    /// The audit log as it is.
    pub fn audit_text(&self) -> String {
        if self.is_spin() {
            // Records and whatever else the component says go one way; Spin itself keeps that in a file.
            let of_spin = std::fs::read_to_string(self.home.join(".spin/logs/holdfast_stderr.txt"));
            let text = self.log() + &of_spin.unwrap_or_default();
            let records = text.lines().filter(|line| line.starts_with('{'));
            return records.fold(String::new(), |all, line| all + line + "\n");
        }
        std::fs::read_to_string(self.home.join("audit.jsonl")).unwrap_or_default()
    }

    /// The audit records; each line must be JSON.
    #[track_caller]
    pub fn audit_records(&self) -> Vec<Value> {
        let text = self.audit_text();
        // A line under way isn't one yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        whole.lines().map(read).collect()
    }

    /// The audit record of a request.
    #[track_caller]
    pub fn wait_for_record(&self, kms_request_id: &str) -> Value {
        wait_for("the audit record", || {
            self.audit_records().into_iter().find(|record| contains(record, kms_request_id))
        })
    }

    /// Prometheus's text.
    pub fn metrics(&self) -> String {
        self.metrics_as("").1
    }

    /// What a scraper that sends this `Accept` gets: the Content-Type, and the text.
    pub fn metrics_as(&self, accept: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: metrics\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        (kind.unwrap_or_default().to_owned(), text.to_owned())
    }

    /// The sum of a metric's lines whose name and labels hold every one of `parts`.
    pub fn metric(&self, parts: &[&str]) -> u64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
        values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the host's end", || child.try_wait().unwrap())
    }

    /// Panics unless it still runs.
    #[track_caller]
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the host ended: {status}, signal {:?}", status.signal());
        }
    }
}

/// Whether a value holds the text anywhere.
fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Array(values) => values.iter().any(|value| contains(value, text)),
        Value::Object(values) => values.values().any(|value| contains(value, text)),
        _ => false,
    }
}

#[track_caller]
fn spawn(home: &Path, environment: &[(String, String)], spin: Option<&Spin>) -> (Child, SocketAddr) {
    let log = home.join("stderr.log");
    let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let (mut command, silent) = match spin {
        Some(spin) => spin.command(home),
        None => {
            let mut command = Command::new(places::program());
            command.args(["serve", "--config"]).arg(home.join("holdfast.toml"));
            (command, None)
        }
    };
    let mut child = command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    if let Some(address) = silent {
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        wait_for("Spin to listen", || TcpStream::connect(address).ok().map(drop));
        return (child, address);
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = sender.send(line);
        // So that the host never writes into a closed pipe.
        let _ = std::io::copy(&mut stdout, &mut std::io::sink());
    });
    // Without a cache, Cedar has to be compiled first.
    let line = receiver.recv_timeout(Duration::from_secs(120)).unwrap_or_default();
    let address = line.trim_end().strip_prefix("listening on ");
    let Some(address) = address.map(|url| url.split_once("://").map_or(url, |(_, address)| address)) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("the host didn't start: {line:?}\n{}", std::fs::read_to_string(log).unwrap_or_default());
    };
    (child, address.parse().unwrap())
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            let end = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}--- its end ---", self.log());
        }
    }
}
