//! The keystore of a new folder.

use holdfast_keystore::{
    AccessKeyId, Contents, KeyId, KeyStoreName, KeystoreFile, Seal, SecretAccessKey, SystemRandom, Usage,
};
use holdfast_secret::Secret;

use super::arguments::{DEMO, SealKind};
use super::staging::Staging;
use super::template::PASSPHRASE_VARIABLE;
use crate::commands::kms_json::kms_json;
use crate::commands::new_file::Mode;
use crate::commands::{CommandError, when};
use crate::config::{SealSource, UriPathPrefix};

/// A seal, and the content of its file if it has one.
pub struct NewSeal {
    seal: Seal,
    file: Option<Secret>,
}

/// Makes a key, or takes the passphrase from the environment.
pub fn new_seal(kind: SealKind) -> Result<NewSeal, CommandError> {
    match kind {
        SealKind::KeyFile => {
            let content = Seal::new_key_file(&mut SystemRandom)?;
            Ok(NewSeal { seal: Seal::key_file(content.expose())?, file: Some(content) })
        }
        SealKind::Passphrase => {
            let source = SealSource::PassphraseEnv(PASSPHRASE_VARIABLE.to_owned());
            Ok(NewSeal { seal: source.read()?, file: None })
        }
    }
}

/// Makes the keystore with one key store, key and credential, and gives what the KMS console takes.
pub fn create(
    staging: &Staging,
    seal: &NewSeal,
    name: &KeyStoreName,
    prefix: &UriPathPrefix,
) -> Result<Secret, CommandError> {
    let now = when::now();
    let mut contents = Contents::new();
    contents.create_key_store(name, now, &mut SystemRandom)?;
    contents.create_key(name, &KeyId::parse(DEMO)?, Usage::BOTH, now, &mut SystemRandom)?;
    let id = AccessKeyId::generate(&mut SystemRandom)?;
    let secret = SecretAccessKey::generate(&mut SystemRandom)?;
    let json = kms_json(prefix, &id, &secret);
    contents.add_credential(name, &id, secret, now)?;
    if let Some(content) = &seal.file {
        staging.file("keystore.seal", content.expose(), Mode::Secret)?;
    }
    KeystoreFile::at(staging.path("keystore.holdfast")).create(&seal.seal, &contents)?;
    Ok(json)
}
