//! `holdfast kms-config`: the JSON file that the KMS console takes (spec: "XKS proxy configuration in AWS KMS console").

use std::path::PathBuf;

use clap::Args;
use holdfast_keystore::AccessKeyId;

use super::kms_json::kms_json;
use super::new_file::{self, Mode};
use super::opened::OpenedKeyStore;
use super::{CommandError, Output};
use crate::commands::KeyStoreChoice;

/// `holdfast kms-config`.
#[derive(Debug, Args)]
#[command(after_help = "\
The answer holds the credential's secret.

Example:
  holdfast kms-config --output kms.json")]
pub struct Arguments {
    #[command(flatten)]
    key_store: KeyStoreChoice,
    /// The credential's access key id [default: the only one]
    #[arg(value_name = "ACCESS_KEY_ID")]
    access_key_id: Option<AccessKeyId>,
    /// Write to a new file, for this user only, instead of the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum KmsConfigError {
    #[error("key store {0} has no credential; make one by `holdfast credential create`")]
    NoCredential(String),
    #[error("key store {0} has several credentials; name one of {1}")]
    Several(String, String),
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let store = OpenedKeyStore::open(&arguments.key_store)?;
    let id = match arguments.access_key_id {
        Some(id) => id,
        None => only(&store)?,
    };
    let json = kms_json(&store.configured().uri_path_prefix, &id, store.credential(&id)?.secret());
    let Some(file) = arguments.output else {
        return Ok(output.bytes(json.expose())?);
    };
    new_file::write(&file, json.expose(), Mode::Secret)?;
    Ok(output.line(format_args!("Wrote {} for credential {id}.", file.display()))?)
}

fn only(store: &OpenedKeyStore) -> Result<AccessKeyId, KmsConfigError> {
    let ids: Vec<&AccessKeyId> = store.credentials().map(|(id, _)| id).collect();
    match ids.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(KmsConfigError::NoCredential(store.name().to_string())),
        several => {
            let several = several.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
            Err(KmsConfigError::Several(store.name().to_string(), several))
        }
    }
}
