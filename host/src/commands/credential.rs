//! `holdfast credential`: what AWS KMS signs with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use holdfast_keystore::{AccessKeyId, Credential, SecretAccessKey, SystemRandom};
use serde::Serialize;
use zeroize::Zeroizing;

use super::kms_json::{self, kms_json};
use super::new_file::{self, Mode};
use super::opened::OpenedKeyStore;
use super::{CommandError, Output, when};
use crate::commands::KeyStoreChoice;

/// `holdfast credential`.
#[derive(Debug, Args)]
#[command(after_help = "\
A key store can have several live credentials: create the new one, give it to AWS KMS, then remove the old one.
A running host takes every change up by itself, without a restart.

Examples:
  holdfast credential create --output kms.json
  holdfast credential import kms.json
  holdfast credential list")]
pub struct Arguments {
    #[command(flatten)]
    key_store: KeyStoreChoice,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a credential and print the JSON file that the KMS console takes.
    Create {
        /// Write the JSON to a new file, for this user only, instead of the standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take in a credential that AWS KMS has already, so that it needn't be changed there.
    Import {
        /// The JSON file that the KMS console took
        file: PathBuf,
    },
    /// Show the access key ids, never a secret.
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse a credential from now on.
    Remove {
        /// Its access key id
        access_key_id: AccessKeyId,
        /// Remove it even if it is the key store's last one
        #[arg(long)]
        force: bool,
    },
}

/// More bytes than such a file has.
const LONGEST: usize = 16 * 1024;

/// A credential as `list` tells of it.
#[derive(Debug, Serialize)]
struct CredentialReport {
    access_key_id: String,
    created: String,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let mut store = OpenedKeyStore::open(&arguments.key_store)?;
    match arguments.action {
        Action::Create { output: file } => create(&mut store, file, output),
        Action::Import { file } => import(&mut store, &file, output),
        Action::List { json } => list(&store, json, output),
        Action::Remove { access_key_id, force } => {
            let name = store.name().clone();
            store.change(|contents, _| match force {
                true => contents.remove_credential(&name, &access_key_id),
                false => contents.remove_spare_credential(&name, &access_key_id),
            })?;
            Ok(output.line(format_args!("Removed credential {access_key_id} of key store {name}."))?)
        }
    }
}

fn create(
    store: &mut OpenedKeyStore,
    file: Option<PathBuf>,
    output: &mut Output,
) -> Result<(), CommandError> {
    let name = store.name().clone();
    let id = AccessKeyId::generate(&mut SystemRandom)?;
    let secret = SecretAccessKey::generate(&mut SystemRandom)?;
    let json = kms_json(&store.configured().uri_path_prefix, &id, &secret);
    let Some(file) = file else {
        store.change(|contents, now| contents.add_credential(&name, &id, secret, now))?;
        return Ok(output.bytes(json.expose())?);
    };
    // The file comes first: a credential whose secret nobody got would be live for nothing.
    new_file::write(&file, json.expose(), Mode::Secret)?;
    if let Err(error) = store.change(|contents, now| contents.add_credential(&name, &id, secret, now)) {
        // It names a credential that isn't there; the first error is the one to tell.
        let _ = std::fs::remove_file(&file);
        return Err(error);
    }
    let file = file.display();
    Ok(output
        .line(format_args!("Created credential {id} of key store {name}; {file} is for the KMS console."))?)
}

fn import(store: &mut OpenedKeyStore, file: &Path, output: &mut Output) -> Result<(), CommandError> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut json = Zeroizing::new(Vec::with_capacity(LONGEST));
    let read = File::open(file).and_then(|opened| opened.take(LONGEST as u64).read_to_end(&mut json));
    read.map_err(|error| named(&error))?;
    let (path, id, secret) = kms_json::read(&json).map_err(|error| named(&error))?;
    let name = store.name().clone();
    store.change(|contents, now| contents.add_credential(&name, &id, secret, now))?;
    output.line(format_args!("Imported credential {id} into key store {name}; a running host takes it."))?;
    let ours = store.configured().uri_path_prefix.xks_proxy_uri_path();
    if path != ours {
        output.line(format_args!(
            "KMS calls it at {path}, and this key store is at {ours}: change uri_path_prefix, or XksProxyUriPath in KMS."
        ))?;
    }
    Ok(())
}

fn list(store: &OpenedKeyStore, json: bool, output: &mut Output) -> Result<(), CommandError> {
    let report = |(id, credential): (&AccessKeyId, &Credential)| CredentialReport {
        access_key_id: id.to_string(),
        created: when::show(credential.created()),
    };
    let reports: Vec<CredentialReport> = store.credentials().map(report).collect();
    if json {
        return Ok(output.json(&reports)?);
    }
    let row = |report: &CredentialReport| [report.access_key_id.clone(), report.created.clone()];
    Ok(output.table(["ACCESS KEY ID", "CREATED"], reports.iter().map(row))?)
}
