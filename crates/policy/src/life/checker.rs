//! Checks of an artefact in a process of its own: what it takes to compile, and what goes wrong while it does, stays there.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::artefact::cases::{read_cases, run_cases};
use crate::artefact::format::{Artefact, artefact_digest};
use crate::decide::component::ComponentPolicy;
use crate::decide::limits::Limits;
use crate::decide::load_error::LoadError;
use crate::life::time::milliseconds;
use crate::make::loader::Loader;
use crate::policy::Policy;
use holdfast_sandbox::CompiledCache;
use serde::{Deserialize, Serialize};

/// For the whole check, on a machine that is busy with requests, which go first.
const TIME: Duration = Duration::from_secs(600);
/// Processor time, in seconds; all cores count. Cedar takes some, an interpreter's component some tens.
const PROCESSOR_SECONDS: u64 = 300;
/// Memory that may be written to, in bytes. (RLIMIT_AS would count what the sandbox only reserves.)
const MEMORY: u64 = 3 * 1024 * 1024 * 1024;
/// Any file that it writes, in bytes.
const FILE: u64 = 512 * 1024 * 1024;
/// Of its answer.
const ANSWER: u64 = 4 * 1024 * 1024;
/// Of its complaints.
const COMPLAINT: u64 = 16 * 1024;

/// The program that runs, also where its file has been replaced by another version's since: what that one compiles this one
/// couldn't load.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The hidden command that it is started by.
pub const COMMAND: &str = "policy-checker";

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// It can't be started or heard.
    #[error("the process that checks policies can't be run: {0}")]
    Process(std::io::Error),
    /// It can't bound itself.
    #[error("its limits can't be set: {0}")]
    Limits(std::io::Error),
    /// What it is given can't be used.
    #[error("{0}")]
    Given(String),
}

/// What the checks of a good artefact found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// What the component calls itself.
    pub engine: String,
    /// Digest of the component.
    pub component: String,
    /// Digest of the document.
    pub revision: String,
    /// The ids of the document's rules.
    pub rules: Vec<String>,
    /// Its own tests, all of which passed.
    pub tests: usize,
    /// Rules that no test of its own reaches.
    pub uncovered_rules: Vec<String>,
    /// Compiling and configuring, in milliseconds.
    pub loading: f64,
    /// The median of uncached decisions, in milliseconds.
    pub decision: f64,
}

#[derive(Serialize, Deserialize)]
enum Verdict {
    Good(Checked),
    Bad(String),
}

/// Has the artefact in `path` checked: what was found, or why it is refused. What is compiled is left in `cache` for this process to load.
pub(super) async fn check(path: &Path, cache: &Path) -> Result<Result<Checked, String>, CheckerError> {
    let artefact = File::open(path).map_err(CheckerError::Process)?;
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg(COMMAND)
        .arg(cache)
        // It needs nothing of ours, and passphrases are none of its business.
        .env_clear()
        .stdin(Stdio::from(artefact))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Process::start(command).map_err(CheckerError::Process)?;
    let Ok(heard) = tokio::time::timeout(TIME, process.ended()).await else {
        return Ok(Err(format!("checking it took more than {} s", TIME.as_secs())));
    };
    let (answer, complaint, status) = heard.map_err(CheckerError::Process)?;
    match serde_json::from_slice(&answer) {
        Ok(Verdict::Good(checked)) => Ok(Ok(checked)),
        Ok(Verdict::Bad(why)) => Ok(Err(why)),
        Err(_) => Ok(Err(ended(status, &String::from_utf8_lossy(&complaint)))),
    }
}

/// A process that ends when nobody waits for it any more.
struct Process {
    child: Child,
    /// Its thread ends when this is dropped.
    _thread: mpsc::Sender<()>,
}

impl Process {
    /// Starts it from a thread that lives as long as it does: the signal that it asked for when its parent dies comes when
    /// the thread dies that started it (prctl(2), PR_SET_PDEATHSIG), and those of the runtime come and go.
    fn start(mut command: Command) -> std::io::Result<Process> {
        let ((thread, lives), (give, given)) = (mpsc::channel::<()>(), mpsc::channel());
        std::thread::Builder::new().name("checker".into()).spawn(move || {
            // Neither fails while the other end is there, and without it there is nothing to do.
            let _ = give.send(command.spawn());
            let _ = lives.recv();
        })?;
        let child = given.recv().map_err(std::io::Error::other)??;
        Ok(Process { child, _thread: thread })
    }

    /// What it said, what it complained of, and how it ended.
    async fn ended(&mut self) -> std::io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let answer = tokio::task::spawn_blocking(move || read_some(stdout, ANSWER));
        let complaint = tokio::task::spawn_blocking(move || read_some(stderr, COMPLAINT));
        let (answer, complaint) = (answer.await?, complaint.await?);
        // It has closed its output, so this isn't long.
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((answer, complaint, status));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless something went wrong; then there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_some(stream: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What can't be read is missed when there is no verdict. What is too much ends the process, as nobody reads it.
        let _ = stream.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

/// What it means that the process ended without a verdict.
fn ended(status: ExitStatus, complaint: &str) -> String {
    use std::os::unix::process::ExitStatusExt;
    let last = complaint.lines().last().unwrap_or_default();
    match status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => {
            format!("checking it took more than {PROCESSOR_SECONDS} s of processor time, or was killed")
        }
        Some(libc::SIGABRT) if complaint.contains("memory allocation") => {
            format!("checking it took more than {} MiB of memory", MEMORY / 1024 / 1024)
        }
        _ => format!("checking it ended without a verdict ({status}) {last}"),
    }
}

/// The hidden command: checks the artefact on the standard input, and tells the verdict on the standard output.
pub fn run_checker(cache: &Path) -> Result<(), CheckerError> {
    bound()?;
    let mut bytes = Vec::new();
    let limit = crate::artefact::format::ARTEFACT_LIMIT as u64 + 1;
    std::io::stdin().take(limit).read_to_end(&mut bytes).map_err(CheckerError::Process)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let verdict = runtime.map_err(CheckerError::Process)?.block_on(judge(&bytes, cache))?;
    let answer = serde_json::to_vec(&verdict).map_err(|error| CheckerError::Given(error.to_string()))?;
    std::io::Write::write_all(&mut std::io::stdout(), &answer).map_err(CheckerError::Process)
}

async fn judge(bytes: &[u8], cache: &Path) -> Result<Verdict, CheckerError> {
    let cache = CompiledCache::open(cache).map_err(|error| CheckerError::Given(error.to_string()))?;
    let loader = Loader::alone(Some(cache)).map_err(CheckerError::Process)?;
    let artefact = match Artefact::read(bytes) {
        Ok(artefact) => artefact,
        Err(error) => return Ok(Verdict::Bad(error.to_string())),
    };
    let begun = Instant::now();
    let limits = Limits { cache: 0, ..Limits::default() };
    let loaded = loader.load(&artefact.component, &artefact.document, limits).await;
    let policy = match loaded {
        Ok(policy) => policy,
        Err(LoadError::Folder(path, error)) => {
            return Err(CheckerError::Given(format!("{}: {error}", path.display())));
        }
        Err(error) => return Ok(Verdict::Bad(error.to_string())),
    };
    let loading = begun.elapsed();
    tracing::debug!(artefact = artefact_digest(bytes), "loaded");
    Ok(match try_out(&policy, &artefact, loading).await {
        Ok(checked) => Verdict::Good(checked),
        Err(why) => Verdict::Bad(why),
    })
}

async fn try_out(
    policy: &ComponentPolicy,
    artefact: &Artefact,
    loading: Duration,
) -> Result<Checked, String> {
    let self_test = policy.self_test().await;
    let times =
        self_test.map_err(|failure| format!("its self-test under the limits of production: {failure}"))?;
    let cases = read_cases(&artefact.tests).map_err(|error| format!("its tests can't be read: {error}"))?;
    let report = run_cases(policy, &cases).await;
    if !report.is_ok() {
        let failed: Vec<String> = report
            .failed
            .iter()
            .map(|failed| format!("{}: {}: {}", failed.file, failed.case, failed.reason))
            .collect();
        return Err(format!("{} of its own tests fail:\n{}", failed.len(), failed.join("\n")));
    }
    let identity = policy.identity().clone();
    Ok(Checked {
        engine: identity.engine,
        component: identity.component,
        revision: identity.revision,
        rules: identity.rules,
        tests: report.passed,
        uncovered_rules: report.uncovered_rules,
        loading: milliseconds(loading),
        decision: milliseconds(times.get(times.len() / 2).copied().unwrap_or_default()),
    })
}

/// Bounds this process, and puts it behind those that serve requests.
fn bound() -> Result<(), CheckerError> {
    let limits = [
        (libc::RLIMIT_CPU, PROCESSOR_SECONDS),
        (libc::RLIMIT_DATA, MEMORY),
        (libc::RLIMIT_FSIZE, FILE),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, value) in limits {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both calls get a pointer to a valid rlimit that outlives them.
        let failed = unsafe {
            libc::getrlimit(resource, &raw mut limit) != 0 || {
                limit.rlim_max = limit.rlim_max.min(value);
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(resource, &raw const limit) != 0
            }
        };
        if failed {
            return Err(CheckerError::Limits(std::io::Error::last_os_error()));
        }
    }
    // SAFETY: takes numbers only; a failure of either is no harm.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    Ok(())
}
