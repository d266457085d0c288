//! The commands that talk to a running host.

mod show;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::admin::AdminClient;
use crate::admin::protocol::{Command, Outcome};
use crate::commands::ConfigFile;
use crate::commands::{CommandError, Output, Usage};
use crate::config::Config;
use holdfast_policy::artefact::{ARTEFACT_LIMIT, SIGNATURE_SUFFIX};
use holdfast_policy::life::Selection;

/// What a running host is told.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Have a running host check a policy and keep it, so that it can be activated.
    #[command(after_help = "\
The signature is FILE.minisig. Checked are: the signature, the world and its imports, that it compiles within bounds of
time and memory in a process of its own, that its document is right, its own tests, and that it decides under the limits
of production. A policy that fails a check is refused, and nothing changes.

Example:
  holdfast policy stage payments.wasm")]
    Stage {
        /// A policy, as `holdfast policy pack` makes it, or a component on its own
        file: PathBuf,
        /// Its signature [default: FILE.minisig, if it is there]
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        #[command(flatten)]
        host: HostChoice,
    },
    /// Let a staged policy decide from now on.
    #[command(after_help = "\
Each request is decided whole by one of the two policies; none is refused for the change.

Example:
  holdfast policy activate payments@1.2 --key-store frankfurt")]
    Activate {
        /// Digest, the beginning of it, or NAME@VERSION
        policy: String,
        #[command(flatten)]
        of: StoresChoice,
        #[command(flatten)]
        host: HostChoice,
    },
    /// Go back to the policy that decided before.
    #[command(after_help = "\
It goes to the last policy that neither failed nor was gone back from. Given twice, it goes back once; scripts say which
activation they mean to leave, and can be run again.

Examples:
  holdfast policy rollback
  holdfast policy rollback --from 7 --key-store frankfurt
  holdfast policy rollback --to 0        the configuration's files as they are now, checked first")]
    Rollback {
        /// To the policy of this activation; 0 is the configuration's [default: the last good one]
        #[arg(long, value_name = "ACTIVATION")]
        to: Option<u64>,
        /// Only if this activation is in force; where it was left already, nothing changes
        #[arg(long, value_name = "ACTIVATION")]
        from: Option<u64>,
        #[command(flatten)]
        of: StoresChoice,
        #[command(flatten)]
        host: HostChoice,
    },
    /// Let a staged policy decide beside the active one on live requests, without counting.
    #[command(after_help = "\
Differences are logged, metered (holdfast_policy_shadow_total) and told by `holdfast policy status`.

Example:
  holdfast policy shadow payments@1.2 --key-store frankfurt
  holdfast policy shadow --off --key-store frankfurt")]
    Shadow {
        /// Digest, the beginning of it, or NAME@VERSION
        #[arg(required_unless_present = "off", conflicts_with = "off")]
        policy: Option<String>,
        /// End it
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        of: StoresChoice,
        #[command(flatten)]
        host: HostChoice,
    },
    /// Show which policy decides for each key store, and what is staged.
    #[command(after_help = "Exit code 1 where a key store has no policy that decides.")]
    Status {
        #[command(flatten)]
        host: HostChoice,
    },
    /// Show what was activated, when, and by whom.
    History {
        #[command(flatten)]
        of: StoresChoice,
        #[command(flatten)]
        host: HostChoice,
    },
}

/// The host that a command talks to.
#[derive(Args, Debug)]
pub struct HostChoice {
    #[command(flatten)]
    config: ConfigFile,
    /// The host's admin socket [default: [admin] socket of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// The key stores that a command is about.
#[derive(Args, Debug)]
pub struct StoresChoice {
    /// A key store; may be given several times [default: the only one]
    #[arg(long = "key-store", value_name = "NAME")]
    names: Vec<String>,
    /// All key stores, together
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

impl StoresChoice {
    fn selection(self) -> Selection {
        match (self.all, self.names.is_empty()) {
            (true, _) => Selection::All,
            (false, true) => Selection::Only,
            (false, false) => Selection::Named(self.names),
        }
    }
}

/// Something is as it shouldn't be; what was shown says what.
#[derive(Debug, thiserror::Error)]
#[error("{0} can't decide: every operation with a key is refused there")]
struct Refusing(String);

/// Runs the command.
pub fn run(action: Action, output: &mut Output) -> Result<(), CommandError> {
    let (command, artefact, host) = match action {
        Action::Stage { file, signature, host } => {
            let (command, bytes) = read(&file, signature)?;
            (command, bytes, host)
        }
        Action::Activate { policy, of, host } => {
            (Command::Activate { artefact: policy, of: of.selection() }, Vec::new(), host)
        }
        Action::Rollback { to, from, of, host } => {
            (Command::Rollback { to, from, of: of.selection() }, Vec::new(), host)
        }
        Action::Shadow { policy, off: _, of, host } => {
            (Command::Shadow { artefact: policy, of: of.selection() }, Vec::new(), host)
        }
        Action::Status { host } => (Command::Status, Vec::new(), host),
        Action::History { of, host } => {
            let of = match of.selection() {
                Selection::Only => Selection::All,
                chosen => chosen,
            };
            (Command::History { of }, Vec::new(), host)
        }
    };
    let outcome = call(&host, command, &artefact)?;
    match host.json {
        true => output.json(&outcome)?,
        false => show::show(&outcome, output)?,
    }
    match &outcome {
        Outcome::Status(standing) => {
            let refusing: Vec<&str> =
                standing.key_stores.iter().filter(|s| !s.decides).map(|s| s.key_store.as_str()).collect();
            if refusing.is_empty() { Ok(()) } else { Err(Refusing(refusing.join(", ")).into()) }
        }
        _ => Ok(()),
    }
}

fn read(file: &std::path::Path, signature: Option<PathBuf>) -> Result<(Command, Vec<u8>), CommandError> {
    let bytes = std::fs::read(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    if bytes.len() > ARTEFACT_LIMIT {
        return Err(format!(
            "{} has more than {ARTEFACT_LIMIT} bytes, more than a policy can have",
            file.display()
        )
        .into());
    }
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(SIGNATURE_SUFFIX);
        Some(PathBuf::from(name)).filter(|path| path.exists())
    };
    let signature = match signature.or_else(beside) {
        Some(path) => Some(
            std::fs::read_to_string(&path)
                .map_err(|error| format!("can't read {}: {error}", path.display()))?,
        ),
        None => None,
    };
    Ok((Command::Stage { bytes: bytes.len() as u64, signature }, bytes))
}

/// Has the running host do it.
fn call(host: &HostChoice, command: Command, artefact: &[u8]) -> Result<Outcome, CommandError> {
    let socket = match &host.socket {
        Some(socket) => socket.clone(),
        None => {
            let config = Config::load(&host.config.path())?;
            let missing = || {
                Usage(format!(
                    "{} has no [admin] socket, so the host can't be told anything while it runs; add one and restart it, \
                     or give --socket",
                    config.file.display()
                ))
            };
            config.admin.as_ref().ok_or_else(missing)?.socket.clone()
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let mut client = AdminClient::connect(&socket).await?;
            let heard = std::io::stderr().is_terminal();
            let outcome = client.call(command, artefact, |text| {
                if heard {
                    // It is no loss where it can't be shown.
                    let _ = writeln!(std::io::stderr(), "{text} ...");
                }
            });
            outcome.await
        })
        .map_err(CommandError::from)
}
