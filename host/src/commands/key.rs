//! `holdfast key`: the keys of a key store. A running host takes every change up by itself.

use clap::{Args, Subcommand};
use holdfast_keystore::{Key, KeyId, MaterialKind, Status, SystemRandom, Usage, Version};
use serde::Serialize;

use super::opened::{self, OpenedKeyStore};
use super::{CommandError, Output, hsm, when};
use crate::commands::KeyStoreChoice;
use crate::config::{Config, KeyStore};

/// `holdfast key`.
#[derive(Debug, Args)]
#[command(after_help = "\
A running host takes every change up by itself, without a restart.

Examples:
  holdfast key create payments --usage encrypt,decrypt
  holdfast key list --json
  holdfast key destroy payments --yes payments")]
pub struct Arguments {
    #[command(flatten)]
    key_store: KeyStoreChoice,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key of new random bytes.
    Create {
        /// The external key id: 1 to 128 of A-Z a-z 0-9 - . _
        id: KeyId,
        /// What it may be used for: encrypt,decrypt, one of them, or none
        #[arg(long, default_value = "encrypt,decrypt", value_parser = usage)]
        usage: Usage,
    },
    /// Show the keys.
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a key and its versions.
    Show {
        /// The external key id
        id: KeyId,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a version that encrypts from now on; older ones still decrypt.
    Rotate {
        /// The external key id
        id: KeyId,
    },
    /// Let a disabled key work again.
    Enable {
        /// The external key id
        id: KeyId,
    },
    /// Refuse every operation with a key, until it is enabled again.
    Disable {
        /// The external key id
        id: KeyId,
    },
    /// Destroy a key with all its versions. What it encrypted is lost, wherever no backup of the keystore remains.
    Destroy {
        /// The external key id
        id: KeyId,
        /// The id once more, to confirm
        #[arg(long, value_name = "ID")]
        yes: KeyId,
    },
}

/// A key as `list` and `show` tell of it.
#[derive(Debug, Serialize)]
struct KeyReport {
    id: String,
    status: &'static str,
    usage: Vec<&'static str>,
    created: String,
    versions: Vec<VersionReport>,
}

#[derive(Debug, Serialize)]
struct VersionReport {
    number: u32,
    algorithm: &'static str,
    created: String,
    /// Whether new ciphertexts are made with it.
    encrypts: bool,
}

#[derive(Debug, thiserror::Error)]
enum KeyCommandError {
    #[error("--yes {confirmed} isn't the id of the key to destroy, {id}; nothing was destroyed")]
    Unconfirmed { id: KeyId, confirmed: KeyId },
    #[error(
        "the keys of key store {key_store} are in HSMs: `holdfast hsm create-key` and `holdfast hsm list-keys` work on \
         them, [key_store.hsm_keys] disables them, and the HSM's own tools destroy them"
    )]
    InHsm { key_store: String },
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let Arguments { key_store, action } = arguments;
    if let Action::Destroy { id, yes } = &action
        && id != yes
    {
        return Err(KeyCommandError::Unconfirmed { id: id.clone(), confirmed: yes.clone() }.into());
    }
    let config = Config::load(&key_store.config.path())?;
    let chosen = opened::choose(&config, &key_store)?;
    if chosen.hsm.is_some() {
        return in_hsm(&config, chosen, &action, output);
    }
    let mut store = OpenedKeyStore::open(&key_store)?;
    let name = store.name().clone();
    match action {
        Action::Create { id, usage } => {
            store.change(|contents, now| contents.create_key(&name, &id, usage, now, &mut SystemRandom))?;
            output.line(format_args!("Created key {id} in key store {name}."))?;
        }
        Action::List { json } => list(&store, json, output)?,
        Action::Show { id, json } => show(&KeyReport::of(&id, store.key(&id)?), json, output)?,
        Action::Rotate { id } => {
            let version =
                store.change(|contents, now| contents.rotate_key(&name, &id, now, &mut SystemRandom))?;
            output.line(format_args!("Key {id} encrypts with version {version} from now on."))?;
        }
        Action::Enable { id } => {
            store.change(|contents, _| contents.set_key_status(&name, &id, Status::Enabled))?;
            output.line(format_args!("Key {id} is enabled."))?;
        }
        Action::Disable { id } => {
            store.change(|contents, _| contents.set_key_status(&name, &id, Status::Disabled))?;
            output.line(format_args!("Key {id} is disabled."))?;
        }
        Action::Destroy { id, .. } => {
            store.change(|contents, _| contents.destroy_key(&name, &id))?;
            output.line(format_args!(
                "Key {id} is destroyed. Backups of the keystore still have it; a running host drops it within seconds."
            ))?;
        }
    }
    Ok(())
}

/// Of keys that are in HSMs, the host makes new versions only.
fn in_hsm(
    config: &Config,
    store: &KeyStore,
    action: &Action,
    output: &mut Output,
) -> Result<(), CommandError> {
    let Action::Rotate { id } = action else {
        return Err(KeyCommandError::InHsm { key_store: store.name.to_string() }.into());
    };
    let version = hsm::rotate(config, store, id.as_str())?;
    Ok(output.line(format_args!(
        "Key {id} has version {version}; a running host encrypts with it after its next check, within 10 s."
    ))?)
}

fn list(store: &OpenedKeyStore, json: bool, output: &mut Output) -> Result<(), CommandError> {
    let reports: Vec<KeyReport> = store.keys().map(|(id, key)| KeyReport::of(id, key)).collect();
    if json {
        return Ok(output.json(&reports)?);
    }
    let row = |report: &KeyReport| {
        let versions = report.versions.len().to_string();
        [report.id.clone(), report.status.into(), report.usage(), versions, report.created.clone()]
    };
    Ok(output.table(["KEY", "STATUS", "USAGE", "VERSIONS", "CREATED"], reports.iter().map(row))?)
}

fn show(report: &KeyReport, json: bool, output: &mut Output) -> Result<(), CommandError> {
    if json {
        return Ok(output.json(report)?);
    }
    output.line(format_args!("key      {}", report.id))?;
    output.line(format_args!("status   {}", report.status))?;
    output.line(format_args!("usage    {}", report.usage()))?;
    output.line(format_args!("created  {}", report.created))?;
    let row = |version: &VersionReport| {
        let use_ = if version.encrypts { "encrypts and decrypts" } else { "decrypts" };
        [version.number.to_string(), version.algorithm.into(), version.created.clone(), use_.into()]
    };
    output.line("")?;
    Ok(output.table(["VERSION", "ALGORITHM", "CREATED", "USE"], report.versions.iter().map(row))?)
}

impl KeyReport {
    fn of(id: &KeyId, key: &Key) -> Self {
        let encrypting = key.encrypting_version().map(Version::number);
        let version = |version: &Version| VersionReport {
            number: version.number(),
            algorithm: match version.kind() {
                MaterialKind::Xaes256Gcm => "XAES-256-GCM",
                MaterialKind::ImportedAes256Gcm => "AES-256-GCM, imported",
            },
            created: when::show(version.created()),
            encrypts: Some(version.number()) == encrypting,
        };
        Self {
            id: id.to_string(),
            status: match key.status() {
                Status::Enabled => "ENABLED",
                Status::Disabled => "DISABLED",
            },
            usage: [(key.usage().encrypt, "ENCRYPT"), (key.usage().decrypt, "DECRYPT")]
                .into_iter()
                .filter_map(|(allowed, name)| allowed.then_some(name))
                .collect(),
            created: when::show(key.created()),
            versions: key.versions().iter().map(version).collect(),
        }
    }

    fn usage(&self) -> String {
        if self.usage.is_empty() { "none".to_owned() } else { self.usage.join(",") }
    }
}

fn usage(text: &str) -> Result<Usage, String> {
    let mut usage = Usage { encrypt: false, decrypt: false };
    if text == "none" {
        return Ok(usage);
    }
    for word in text.split(',') {
        match word {
            "encrypt" => usage.encrypt = true,
            "decrypt" => usage.decrypt = true,
            _ => return Err("allowed: encrypt,decrypt, encrypt, decrypt or none".to_owned()),
        }
    }
    Ok(usage)
}
