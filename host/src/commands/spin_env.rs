//! `holdfast spin-env`: a folder's keystore and policy in the form that Spin takes: variables and a component.

mod files;
mod policy;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_keystore::sealed::{self, Label};
use holdfast_keystore::{Contents, KeystoreFile, Opened, Seal, SystemRandom};
use serde_json::json;
use zeroize::Zeroizing;

use super::{CommandError, Output};
use crate::config::{Config, KeyStore};
use files::replace;
use policy::Chosen;

/// `holdfast spin-env`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes DIR/spin.env, which holds keys and credentials in the clear for whoever reads it (mode 0600),
and DIR/spin-policy.wasm. Run it again after a change of keys, credentials or the policy.

Example:
  holdfast init demo
  holdfast spin-env demo
  set -a; . demo/spin.env; set +a; spin up")]
pub struct Arguments {
    /// A folder with a holdfast.toml, as `holdfast init` makes it
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Only this key store [default: all that have their keys in the keystore]
    #[arg(long = "key-store", value_name = "NAME")]
    key_store: Option<String>,
    /// Another policy than the configuration's: an artefact, a component, or a folder with policy.toml. Its signature is
    /// `holdfast policy verify`'s to check
    #[arg(long, value_name = "POLICY")]
    policy: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum SpinError {
    #[error(
        "{name} would have {bytes} bytes, and Linux passes on no variable of 128 KiB or more; nothing was written. Take fewer key stores \
         (--key-store), or fewer keys in them; or hand the values to Spin by another of its providers of variables"
    )]
    TooLong { name: &'static str, bytes: usize },
    #[error("{config} has no key store {name}")]
    Unknown { config: String, name: String },
    #[error("the keys of key store {0} are in HSMs, and no HSM can be reached from Spin")]
    Hsm(String),
    #[error("{0} has no key store with its keys in the keystore")]
    Nothing(String),
    #[error("key store {0} has no policy, so every operation would be refused")]
    NoPolicy(String),
    #[error(
        "key stores {0} and {1} have different policies, and a Spin application has one; choose a key store by --key-store"
    )]
    Policies(String, String),
    #[error("key store {0} isn't in the keystore yet; make a credential by `holdfast credential create`")]
    NotStored(String),
}

/// Linux passes no longer variable to a program, its name and its end included (MAX_ARG_STRLEN, execve(2)).
const LONGEST: usize = 128 * 1024;

/// Runs the command.
pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let config = Config::load(&arguments.folder.join("holdfast.toml"))?;
    let stores = chosen(&config, arguments.key_store.as_deref())?;
    let chosen = match &arguments.policy {
        Some(path) => Chosen::by_path(path)?,
        None => Chosen::by_configuration(one_policy(&stores)?)?,
    };
    let (component, document) = policy::for_spin(chosen, &config.components.cache)?;
    let variables = variables(&config, &stores, document)?;
    can_be_passed_on(&variables)?;

    let policy_file = arguments.folder.join("spin-policy.wasm");
    let variables_file = arguments.folder.join("spin.env");
    replace(&policy_file, &component, 0o644)?;
    replace(&variables_file, text(&variables_file, &variables).as_bytes(), 0o600)?;
    let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
    output.line(format_args!("Wrote {} for {}.", variables_file.display(), names.join(", ")))?;
    output.line(format_args!("Wrote {} ({} bytes).", policy_file.display(), component.len()))?;
    output.line("Name that file in spin.toml, and start:")?;
    Ok(output.line(format_args!("  {}", start(&variables_file)))?)
}

fn can_be_passed_on(variables: &Variables) -> Result<(), SpinError> {
    let too_long =
        |(name, value): &&(&'static str, Zeroizing<String>)| name.len() + 1 + value.len() >= LONGEST;
    match variables.iter().find(too_long) {
        Some((name, value)) => Err(SpinError::TooLong { name, bytes: value.len() }),
        None => Ok(()),
    }
}

fn start(file: &Path) -> String {
    format!("set -a; . {}; set +a; spin up", file.display())
}

fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a KeyStore>, SpinError> {
    let file = || config.file.display().to_string();
    if let Some(name) = name {
        let unknown = || SpinError::Unknown { config: file(), name: name.to_owned() };
        let store = config.key_store(name).ok_or_else(unknown)?;
        return match store.hsm {
            Some(_) => Err(SpinError::Hsm(name.to_owned())),
            None => Ok(vec![store]),
        };
    }
    let stores: Vec<&KeyStore> = config.key_stores.iter().filter(|store| store.hsm.is_none()).collect();
    if stores.is_empty() { Err(SpinError::Nothing(file())) } else { Ok(stores) }
}

fn one_policy<'a>(stores: &[&'a KeyStore]) -> Result<&'a crate::config::Policy, SpinError> {
    let mut chosen: Option<(&KeyStore, &'a crate::config::Policy)> = None;
    for store in stores {
        let policy = store.policy.as_ref().ok_or_else(|| SpinError::NoPolicy(store.name.to_string()))?;
        match chosen {
            None => chosen = Some((store, policy)),
            Some((first, known)) if known.component != policy.component || known.files != policy.files => {
                return Err(SpinError::Policies(first.name.to_string(), store.name.to_string()));
            }
            Some(_) => {}
        }
    }
    chosen.map(|(_, policy)| policy).ok_or_else(|| SpinError::Nothing(String::new()))
}

/// The variables by their names in spin.toml.
type Variables = [(&'static str, Zeroizing<String>); 4];

/// Seals what the chosen key stores have to a new random key. A passphrase's derivation would take longer than a request.
fn variables(config: &Config, stores: &[&KeyStore], document: String) -> Result<Variables, CommandError> {
    let seal = config.keystore.seal.read()?;
    let Opened { mut contents, info } = KeystoreFile::at(&config.keystore.path).open(&seal)?;
    keep_only(&mut contents, stores)?;
    let key = Seal::new_key_file(&mut SystemRandom)?;
    let seal = Seal::key_file(key.expose())?;
    let params = seal.new_params(&mut SystemRandom)?;
    let label = Label { id: info.id, generation: info.generation, erasing: false, params };
    let sealed = sealed::seal(&contents, &label, &seal, &mut SystemRandom)?;
    let mut settings = serde_json::Map::new();
    for store in stores {
        let regions: Vec<&str> = store.regions.iter().map(|region| region.as_str()).collect();
        let value = json!({
            "uriPathPrefix": store.uri_path_prefix.as_str(),
            "regions": regions,
            "fleetSize": store.fleet_size,
        });
        settings.insert(store.name.to_string(), value);
    }
    let key = Zeroizing::new(String::from_utf8_lossy(key.expose()).trim_end().to_owned());
    Ok([
        ("holdfast_keystore", Zeroizing::new(STANDARD.encode(sealed))),
        ("holdfast_seal_key", key),
        ("holdfast_key_stores", Zeroizing::new(serde_json::Value::from(settings).to_string())),
        ("holdfast_policy_document", Zeroizing::new(document)),
    ])
}

fn keep_only(contents: &mut Contents, stores: &[&KeyStore]) -> Result<(), CommandError> {
    for store in stores {
        if contents.key_store(store.name.as_str()).is_none() {
            return Err(SpinError::NotStored(store.name.to_string()).into());
        }
    }
    let others: Vec<_> = contents.key_stores().map(|(name, _)| name.clone()).collect();
    for name in others.iter().filter(|name| !stores.iter().any(|store| store.name == **name)) {
        contents.remove_key_store(name)?;
    }
    Ok(())
}

/// Assignments for a shell. Of the values only a policy's document can have a single quote; JSON can write it otherwise.
fn text(file: &Path, variables: &Variables) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str("# Keys and credentials for Spin: whoever reads this file has them. Start with\n#   ");
    text.push_str(&start(file));
    text.push('\n');
    for (name, value) in variables {
        text.push_str("SPIN_VARIABLE_");
        text.push_str(&name.to_uppercase());
        text.push_str("='");
        text.push_str(&value.replace('\'', "\\u0027"));
        text.push_str("'\n");
    }
    text
}

#[cfg(test)]
mod length {
    use super::*;

    #[test]
    fn what_linux_does_not_pass_on_is_refused() {
        let with = |bytes: usize| {
            let variable = |name: &'static str, bytes| (name, Zeroizing::new("x".repeat(bytes)));
            [variable("A", 1), variable("SPIN_VARIABLE_B", bytes), variable("C", 1), variable("D", 1)]
        };
        // "NAME=VALUE" and the zero behind it.
        let most = LONGEST - "SPIN_VARIABLE_B=".len() - 1;
        assert!(can_be_passed_on(&with(most)).is_ok());
        let refused = can_be_passed_on(&with(most + 1)).unwrap_err().to_string();
        assert!(refused.contains("SPIN_VARIABLE_B") && refused.contains("nothing was written"), "{refused}");
    }
}
