//! What the operator says about HSMs, already read and checked.

use crate::quirks::Quirks;
use holdfast_secret::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Which token of a module. Never the slot's number: it changes with what is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelector {
    /// By its label.
    Label(String),
    /// By its serial number.
    Serial(String),
}

/// Where module code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a process of its own: a crash or hang there touches nothing else, and is ended by ending that process.
    Process,
    /// In threads of this process. A hung call's thread is written off, at most this many times. HSMs on one module
    /// share its locks.
    Threads {
        /// How many hung threads are replaced.
        replaced_at_most: usize,
    },
}

/// How a worker process is started. What it runs has to call [`crate::worker::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The executable.
    pub program: PathBuf,
    /// Its name in lists of processes.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl WorkerCommand {
    /// This process's own executable, even if its file was replaced, with these arguments.
    pub fn own(arguments: &[&str]) -> WorkerCommand {
        WorkerCommand {
            program: PathBuf::from("/proc/self/exe"),
            name: "holdfast".to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        }
    }
}

/// Gives the PIN, read anew each time: it may have changed.
pub type PinSource = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// One HSM.
#[derive(Clone)]
pub struct HsmSettings {
    /// The operator's name for it: in the audit record, health and logs.
    pub name: String,
    /// The module's path.
    pub module: PathBuf,
    /// Which token.
    pub token: TokenSelector,
    /// Its user's PIN.
    pub pin: PinSource,
    /// How many sessions, and so how many calls at once. 1 to 1024.
    pub sessions: usize,
    /// How many operations may wait for a session.
    pub queue: usize,
    /// Threads or a process.
    pub isolation: Isolation,
    /// What it does in its own way.
    pub quirks: Quirks,
    /// The label of a key that only health checks use. Requests can't name it.
    pub test_key: Option<String>,
    /// Whether to make the test key when the token hasn't it.
    pub create_test_key: bool,
    /// Variables for the worker process's environment, such as a vendor's configuration file.
    pub environment: Vec<(String, String)>,
    /// For how long a call may be inside the module before it counts as hung.
    pub hang_time: Duration,
    /// The same of connecting: loading and initialising the module, finding the token, logging in.
    pub connect_time: Duration,
}

impl HsmSettings {
    /// The usual settings of an HSM: a worker process, 16 sessions, a queue of 256, hung after 2 s.
    pub fn new(name: &str, module: impl Into<PathBuf>, token: TokenSelector, pin: PinSource) -> HsmSettings {
        HsmSettings {
            name: name.to_owned(),
            module: module.into(),
            token,
            pin,
            sessions: 16,
            queue: 256,
            isolation: Isolation::Process,
            quirks: Quirks::default(),
            test_key: Some("holdfast-health".to_owned()),
            create_test_key: false,
            environment: Vec::new(),
            hang_time: Duration::from_secs(2),
            connect_time: Duration::from_secs(30),
        }
    }
}

/// What the operator says about a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySettings {
    /// CKA_LABEL of version 1, where it isn't the key's id.
    pub label: Option<String>,
    /// Disabled: no operation.
    pub disabled: bool,
    /// Versions that no longer encrypt.
    pub retired: Vec<u32>,
}

/// One to ten HSMs that hold the same keys.
#[derive(Clone)]
pub struct FleetSettings {
    /// The HSMs. Equal keys have equal labels on all of them.
    pub hsms: Vec<HsmSettings>,
    /// The keys by id; none for every AES-256 key whose label is a key id.
    pub keys: Option<BTreeMap<String, KeySettings>>,
    /// Labels that requests can't name, in any version, besides those of the test keys.
    pub hidden: Vec<String>,
    /// Where use counts are kept, across restarts.
    pub state_folder: PathBuf,
    /// Where refused PINs are kept, across restarts, by token: the same for all that may log in to the same one.
    pub pin_folder: PathBuf,
    /// How worker processes are started.
    pub worker: WorkerCommand,
    /// Whether ciphertexts of AWS's sample proxy are decrypted as well.
    pub accept_aws_sample_proxy: bool,
    /// For how long one HSM is waited for before another is asked, where there is another.
    pub attempt_time: Duration,
    /// How often each HSM is checked.
    pub check_interval: Duration,
    /// Encryptions with one version after which a warning is logged.
    pub warn_after: u64,
    /// Encryptions with one version after which there are no more. Divide it where several proxies use the same key.
    pub refuse_after: u64,
}

impl FleetSettings {
    /// The usual settings.
    pub fn new(hsms: Vec<HsmSettings>, state_folder: impl Into<PathBuf>) -> FleetSettings {
        let state_folder = state_folder.into();
        FleetSettings {
            hsms,
            keys: None,
            hidden: Vec::new(),
            pin_folder: state_folder.clone(),
            state_folder,
            worker: WorkerCommand::own(&["hsm-worker"]),
            accept_aws_sample_proxy: false,
            attempt_time: Duration::from_millis(60),
            check_interval: Duration::from_secs(10),
            warn_after: 1 << 31,
            refuse_after: 1 << 32,
        }
    }
}
