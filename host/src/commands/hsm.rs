//! `holdfast hsm`: looks into HSMs and makes keys in them. The module is loaded in this process, and ends with it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_pkcs11::admin::{AdminError, Console};

use super::{CommandError, Output};
use crate::commands::ConfigFile;
use crate::config::{Config, Hsm, KeyStore};

mod chosen;
mod elsewhere;
mod environment;
mod keys;
mod probe;
mod tokens;

pub(super) use chosen::{HsmCommandError, choose};
use environment::set_environment;
use keys::KeyReport;

/// `holdfast hsm`.
#[derive(Debug, Args)]
#[command(after_help = "\
A wrong PIN is tried once and remembered, so that no token gets locked; a changed PIN is tried again.
The keys of a fleet must be the same on all of its HSMs: make them on one, and copy them by the HSMs' own means.

Examples:
  holdfast hsm list --module /usr/lib/softhsm/libsofthsm2.so
  holdfast hsm probe hsm-1
  holdfast hsm create-key payments --hsm hsm-1")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the tokens of a module. Nobody logs in.
    List {
        /// A PKCS#11 module [default: those of the configuration]
        #[arg(long, value_name = "FILE")]
        module: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Log in to an HSM: what it can do, how fast, and how its keys are kept.
    Probe {
        /// Its name in the configuration [default: the only one]
        hsm: Option<String>,
        /// The key to measure with, which isn't counted as uses of it [default: its test key]
        #[arg(long, value_name = "LABEL")]
        key: Option<String>,
        /// Encryptions and decryptions to measure
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rounds: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an AES-256 key: sensitive and not extractable.
    CreateKey {
        /// Its label, which is its external key id: 1 to 128 of A-Z a-z 0-9 - . _
        label: String,
        /// The HSM's name in the configuration [default: the only one]
        #[arg(long, value_name = "NAME")]
        hsm: Option<String>,
        /// What it may be used for: encrypt,decrypt or one of them
        #[arg(long, value_delimiter = ',', default_value = "encrypt,decrypt")]
        usage: Vec<KeyUse>,
    },
    /// Show the AES-256 keys of an HSM.
    ListKeys {
        /// Its name in the configuration [default: the only one]
        hsm: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum KeyUse {
    Encrypt,
    Decrypt,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let Arguments { config, action } = arguments;
    if let Action::List { module: Some(module), json } = &action {
        return tokens::of_one(module, *json, output);
    }
    let config = Config::load(&config.path())?;
    match action {
        Action::List { json, .. } => tokens::of_all(&config, json, output),
        Action::Probe { hsm, key, rounds, json } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let console = console(&config, hsm)?;
            probe::run(&console, hsm, key.as_deref(), rounds, json, output)
        }
        Action::CreateKey { label, hsm, usage } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let allows = |wanted| usage.contains(&wanted);
            elsewhere::expect_free(&config, hsm, &label)?;
            console(&config, hsm)?.create_key(&label, allows(KeyUse::Encrypt), allows(KeyUse::Decrypt))?;
            Ok(output.line(format_args!(
                "Created key {label} on HSM {}. A running host uses it after its next check, within 10 s.",
                hsm.name
            ))?)
        }
        Action::ListKeys { hsm, json } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let keys: Vec<KeyReport> = console(&config, hsm)?.keys()?.iter().map(KeyReport::of).collect();
            if json { Ok(output.json(&keys)?) } else { keys::table(&keys, output) }
        }
    }
}

/// Makes the next version of a key of a key store whose keys are in one HSM, and gives its number.
pub(super) fn rotate(config: &Config, store: &KeyStore, key: &str) -> Result<u32, CommandError> {
    let hsms = store.hsm.as_ref().map(|keys| keys.hsms.as_slice()).unwrap_or_default();
    let [name] = hsms else {
        let (key_store, count) = (store.name.to_string(), hsms.len());
        return Err(HsmCommandError::Fleet { key_store, count, key: key.to_owned() }.into());
    };
    let settings = store.hsm.as_ref().and_then(|keys| keys.keys.as_ref()).and_then(|keys| keys.get(key));
    let label = settings.and_then(|settings| settings.label.as_deref()).unwrap_or(key);
    Ok(console(config, choose(config, Some(name))?)?.rotate(label)?)
}

fn console(config: &Config, hsm: &Hsm) -> Result<Console, AdminError> {
    // For as long as the command runs.
    let _ = set_environment(&hsm.environment);
    // Where the host remembers PINs that this HSM refused, so that neither tries them again.
    let pins = config.keystore.pin_folder();
    holdfast_pkcs11::make_folder(&pins)
        .map_err(|error| AdminError::Token(format!("{} can't be made: {error}", pins.display())))?;
    Console::open(&hsm.settings(), &pins)
}
