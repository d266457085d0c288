//! `holdfast hsm`: looks into HSMs and makes keys in them. The module is loaded in this process, and ends with it.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use holdfast_pkcs11::admin::{self, AdminError, Console, SlotDescription, Speed};
use holdfast_pkcs11::module::{KeyAttributes, MechanismInfo, TokenInfo};
use serde::Serialize;

use super::{CommandError, Output};
use crate::cli::ConfigFile;
use crate::config::{Config, Hsm, KeyStore};

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

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub(super) enum HsmCommandError {
    #[error("{0} has no [[hsm]]; docs/pkcs11.md shows one")]
    None(String),
    #[error("{config} has no HSM {name}; it has {known}")]
    Unknown { config: String, name: String, known: String },
    #[error("{config} has several HSMs; name one: {known}")]
    Several { config: String, known: String },
    #[error(
        "key store {key_store} has {count} HSMs, which must hold the same keys: make the next version on one of them by \
         its own tools, named {key}#N, and copy it to the others; it is used as soon as all have it"
    )]
    Fleet { key_store: String, count: usize, key: String },
}

#[derive(Serialize)]
struct TokenReport {
    module: PathBuf,
    slot: u64,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    firmware: String,
    aes_gcm: bool,
    pin_locked: bool,
}

#[derive(Serialize)]
struct KeyReport {
    label: String,
    encrypt: bool,
    decrypt: bool,
    sensitive: bool,
    extractable: bool,
    /// YYYYMMDD.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<u32>,
    /// YYYYMMDD.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<u32>,
    warnings: Vec<&'static str>,
}

#[derive(Serialize)]
struct ProbeReport {
    hsm: String,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    firmware: String,
    session_limit: Option<usize>,
    mechanisms: Vec<String>,
    aes_gcm: GcmReport,
    message_functions: bool,
    keys: Vec<KeyReport>,
    /// `None` where the key to measure with isn't there.
    speed: Option<SpeedReport>,
}

#[derive(Serialize)]
struct GcmReport {
    encrypt: bool,
    decrypt: bool,
    hardware: bool,
}

#[derive(Serialize)]
struct SpeedReport {
    key: String,
    rounds: u32,
    encrypt_microseconds: f64,
    decrypt_microseconds: f64,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let Arguments { config, action } = arguments;
    if let Action::List { module: Some(module), json } = &action {
        return list(&[Listed { module, thread_safe: true, environment: &[] }], *json, output);
    }
    let config = Config::load(&config.path())?;
    match action {
        Action::List { json, .. } => {
            let mut modules: Vec<Listed<'_>> = Vec::new();
            for Hsm { module, environment, quirks, .. } in &config.hsms {
                // The same module may show other tokens in another environment.
                if !modules.iter().any(|known| known.module == module && known.environment == environment) {
                    modules.push(Listed { module, thread_safe: quirks.thread_safe, environment });
                }
            }
            if modules.is_empty() {
                return Err(HsmCommandError::None(config.file.display().to_string()).into());
            }
            list(&modules, json, output)
        }
        Action::Probe { hsm, key, rounds, json } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let report = probe(&config, hsm, key.as_deref(), rounds)?;
            if json { Ok(output.json(&report)?) } else { show(&report, output) }
        }
        Action::CreateKey { label, hsm, usage } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let allows = |wanted| usage.contains(&wanted);
            console(&config, hsm)?.create_key(&label, allows(KeyUse::Encrypt), allows(KeyUse::Decrypt))?;
            Ok(output.line(format_args!(
                "Created key {label} on HSM {}. A running host uses it after its next check, within 10 s.",
                hsm.name
            ))?)
        }
        Action::ListKeys { hsm, json } => {
            let hsm = choose(&config, hsm.as_deref())?;
            let keys: Vec<KeyReport> = console(&config, hsm)?.keys()?.iter().map(KeyReport::of).collect();
            if json { Ok(output.json(&keys)?) } else { table(&keys, output) }
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

pub(super) fn choose<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Hsm, HsmCommandError> {
    let known = || config.hsms.iter().map(|hsm| hsm.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = || config.file.display().to_string();
    match (name, config.hsms.as_slice()) {
        (_, []) => Err(HsmCommandError::None(file())),
        (Some(name), hsms) => hsms.iter().find(|hsm| hsm.name == name).ok_or_else(|| {
            HsmCommandError::Unknown { config: file(), name: name.to_owned(), known: known() }
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(HsmCommandError::Several { config: file(), known: known() }),
    }
}

fn console(config: &Config, hsm: &Hsm) -> Result<Console, AdminError> {
    // For as long as the command runs.
    let _ = set_environment(&hsm.environment);
    // Where the host remembers PINs that this HSM refused, so that neither tries them again.
    let pins = config.keystore.pin_folder();
    std::fs::create_dir_all(&pins)
        .map_err(|error| AdminError::Token(format!("{} can't be made: {error}", pins.display())))?;
    Console::open(&hsm.settings(), &pins)
}

/// Sets variables, and gives what they were.
fn set_environment(environment: &[(String, String)]) -> Vec<(&str, Option<OsString>)> {
    let before = environment.iter().map(|(name, _)| (name.as_str(), std::env::var_os(name))).collect();
    for (name, value) in environment {
        // SAFETY: the command has one thread, which isn't inside a module, and modules read variables while they initialise.
        unsafe { std::env::set_var(name, value) };
    }
    before
}

fn restore_environment(before: Vec<(&str, Option<OsString>)>) {
    for (name, value) in before {
        match value {
            // SAFETY: as above.
            Some(value) => unsafe { std::env::set_var(name, value) },
            // SAFETY: as above.
            None => unsafe { std::env::remove_var(name) },
        }
    }
}

/// A module whose tokens are shown.
struct Listed<'a> {
    module: &'a Path,
    thread_safe: bool,
    environment: &'a [(String, String)],
}

fn list(modules: &[Listed<'_>], json: bool, output: &mut Output) -> Result<(), CommandError> {
    let mut reports = Vec::new();
    for (index, Listed { module, thread_safe, environment }) in modules.iter().enumerate() {
        let again = modules[..index].iter().any(|before| before.module == *module);
        let before = set_environment(environment);
        let slots = admin::slots(module, *thread_safe, again);
        restore_environment(before);
        let slots = slots?;
        reports.extend(slots.iter().map(|slot| TokenReport::of(module, slot)));
    }
    if json {
        return Ok(output.json(&reports)?);
    }
    let row = |report: &TokenReport| {
        let notes = match (report.aes_gcm, report.pin_locked) {
            (_, true) => "PIN LOCKED",
            (true, _) => "AES-GCM",
            (false, _) => "no AES-GCM",
        };
        [
            report.label.clone(),
            report.serial.clone(),
            format!("{} {}", report.model, report.firmware),
            notes.into(),
            report.module.display().to_string(),
        ]
    };
    Ok(output.table(["TOKEN", "SERIAL", "MODEL", "NOTES", "MODULE"], reports.iter().map(row))?)
}

fn probe(config: &Config, hsm: &Hsm, key: Option<&str>, rounds: u32) -> Result<ProbeReport, CommandError> {
    let console = console(config, hsm)?;
    let keys = console.keys()?;
    let key = key.unwrap_or(&hsm.test_key);
    let speed = match keys.iter().any(|known| known.label == key) {
        true => Some(measure(&console, hsm, key, rounds)?),
        false => None,
    };
    let TokenInfo { label, serial, manufacturer, model, firmware, session_limit, .. } =
        console.token().clone();
    let MechanismInfo { encrypt, decrypt, hardware, .. } = console.aes_gcm()?;
    Ok(ProbeReport {
        hsm: hsm.name.clone(),
        label,
        serial,
        manufacturer,
        model,
        firmware,
        session_limit,
        mechanisms: console.mechanisms()?.iter().map(|number| format!("{number:#x}")).collect(),
        aes_gcm: GcmReport { encrypt, decrypt, hardware },
        message_functions: console.has_message_functions(),
        keys: keys.iter().map(KeyReport::of).collect(),
        speed,
    })
}

fn measure(console: &Console, hsm: &Hsm, key: &str, rounds: u32) -> Result<SpeedReport, AdminError> {
    let shown = std::io::stderr().is_terminal();
    let Speed { encrypt, decrypt } = console.measure(&hsm.settings(), key, rounds, |done| {
        let step = (rounds / 50).max(1);
        if shown && (done.is_multiple_of(step) || done == rounds) {
            let filled = (u64::from(done) * 40 / u64::from(rounds)) as usize;
            // Only for the eye; nothing is lost when it can't be shown.
            let _ = write!(std::io::stderr(), "\rmeasuring [{:<40}] {done}/{rounds}", "=".repeat(filled));
        }
    })?;
    if shown {
        let _ = writeln!(std::io::stderr());
    }
    let microseconds = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    Ok(SpeedReport {
        key: key.to_owned(),
        rounds,
        encrypt_microseconds: microseconds(encrypt),
        decrypt_microseconds: microseconds(decrypt),
    })
}

fn show(report: &ProbeReport, output: &mut Output) -> Result<(), CommandError> {
    let yes = |is| if is { "yes" } else { "no" };
    let GcmReport { encrypt, decrypt, hardware } = report.aes_gcm;
    output.line(format_args!("token     {} (serial {})", report.label, report.serial))?;
    output.line(format_args!("model     {} {}, {}", report.model, report.firmware, report.manufacturer))?;
    output.line(format_args!(
        "AES-GCM   encrypts: {}, decrypts: {}, in hardware: {}",
        yes(encrypt),
        yes(decrypt),
        yes(hardware)
    ))?;
    output.line(format_args!("messages  functions of PKCS#11 3.0: {}", yes(report.message_functions)))?;
    output.line(format_args!("mechanisms {}", report.mechanisms.join(" ")))?;
    match &report.speed {
        Some(speed) => output.line(format_args!(
            "speed     {:.1} us an encryption of 32 bytes, {:.1} us a decryption, one thread, {} rounds with {}",
            speed.encrypt_microseconds, speed.decrypt_microseconds, speed.rounds, speed.key
        ))?,
        None => output.line("speed     not measured: the key to measure with isn't there; name one by --key")?,
    }
    output.line("")?;
    table(&report.keys, output)
}

fn table(keys: &[KeyReport], output: &mut Output) -> Result<(), CommandError> {
    let row = |key: &KeyReport| {
        let uses = [(key.encrypt, "ENCRYPT"), (key.decrypt, "DECRYPT")];
        let uses: Vec<_> = uses.iter().filter_map(|(has, name)| has.then_some(*name)).collect();
        let warnings = match key.warnings.is_empty() {
            true => "-".to_owned(),
            false => format!("WARNING: {}", key.warnings.join("; ")),
        };
        [key.label.clone(), uses.join(","), warnings]
    };
    Ok(output.table(["KEY", "USAGE", "WARNINGS"], keys.iter().map(row))?)
}

impl TokenReport {
    fn of(module: &Path, slot: &SlotDescription) -> TokenReport {
        let token = &slot.token;
        TokenReport {
            module: module.to_owned(),
            slot: slot.slot,
            label: token.label.clone(),
            serial: token.serial.clone(),
            manufacturer: token.manufacturer.clone(),
            model: token.model.clone(),
            firmware: token.firmware.clone(),
            aes_gcm: slot.aes_gcm.as_ref().is_some_and(|gcm| gcm.encrypt && gcm.decrypt),
            pin_locked: token.is_locked(),
        }
    }
}

impl KeyReport {
    fn of(key: &KeyAttributes) -> KeyReport {
        let date = |date| (date != 0).then_some(date);
        KeyReport {
            label: key.label.clone(),
            encrypt: key.encrypt,
            decrypt: key.decrypt,
            sensitive: key.sensitive,
            extractable: key.extractable,
            start_date: date(key.start_date),
            end_date: date(key.end_date),
            warnings: admin::warnings(key),
        }
    }
}
