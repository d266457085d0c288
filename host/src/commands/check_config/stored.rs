//! The keystore: its seal, and what it holds for the key stores of the configuration.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use holdfast_keystore::{KeystoreFile, Opened};

use super::checks::Checks;
use crate::commands::output::with_sources;
use crate::config::SealSource;

pub fn check(checks: &mut Checks<'_>) {
    let keystore = &checks.config.keystore;
    if let SealSource::KeyFile(file) | SealSource::PassphraseFile(file) = &keystore.seal {
        private(checks, file);
    }
    let seal = match keystore.seal.read() {
        Ok(seal) => seal,
        Err(error) => return checks.problem("keystore.seal", with_sources(&error)),
    };
    match KeystoreFile::at(&keystore.path).open(&seal) {
        Ok(opened) => held(checks, &opened),
        Err(error) => checks.problem("keystore.path", with_sources(&error)),
    }
}

/// Whoever reads the seal's file and the keystore has the keys.
fn private(checks: &mut Checks<'_>, file: &Path) {
    if std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let shown = file.display();
        checks
            .warning("keystore.seal", format!("{shown} is open to others than its owner: chmod 600 {shown}"));
    }
}

fn held(checks: &mut Checks<'_>, opened: &Opened) {
    let config = checks.config;
    let shown = config.keystore.path.display();
    checks.right(format!(
        "keystore {shown}, generation {}, {}",
        opened.info.generation,
        opened.info.seal.kind()
    ));
    for (index, store) in config.key_stores.iter().enumerate() {
        let stored = opened.contents.key_store(store.name.as_str());
        let name = &store.name;
        if stored.is_none_or(|stored| stored.credentials().len() == 0) {
            checks.warning(
                &format!("key_store[{index}].name"),
                format!("{shown} has no credential for {name}, so every request is refused: holdfast credential create --key-store {name}"),
            );
        }
        if stored.is_none_or(|stored| stored.keys().len() == 0) {
            checks.warning(
                &format!("key_store[{index}].name"),
                format!("{shown} has no key for {name}: holdfast key create ID --key-store {name}"),
            );
        }
    }
    for (name, _) in opened.contents.key_stores() {
        if config.key_store(name.as_str()).is_none() {
            checks.warning(
                "keystore.path",
                format!("{shown} holds a key store {name} that this file doesn't configure"),
            );
        }
    }
}
