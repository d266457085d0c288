//! What a keystore's file says of itself, and what it holds.

use std::path::PathBuf;

use holdfast_keystore::{Info, KeystoreFile, Opened};
use serde::Serialize;

use crate::commands::{CommandError, Output};

#[derive(Debug, Serialize)]
struct InfoReport {
    file: PathBuf,
    keystore_id: String,
    generation: u64,
    seal: String,
    /// The file's length in bytes.
    size: usize,
    /// Whether it is undamaged; only opening it proves that nobody altered it.
    checksum_ok: bool,
    /// The previous generation's file may still hold what was destroyed last; the next change finishes that.
    erasing: bool,
}

#[derive(Debug, Serialize)]
struct VerifiedReport {
    #[serde(flatten)]
    info: InfoReport,
    key_stores: Vec<KeyStoreReport>,
}

#[derive(Debug, Serialize)]
struct KeyStoreReport {
    name: String,
    keys: usize,
    credentials: usize,
}

pub fn info(file: &KeystoreFile, info: &Info, json: bool, output: &mut Output) -> Result<(), CommandError> {
    let report = InfoReport::of(file, info);
    if json {
        return Ok(output.json(&report)?);
    }
    report.show(output)
}

pub fn verified(
    file: &KeystoreFile,
    opened: &Opened,
    json: bool,
    output: &mut Output,
) -> Result<(), CommandError> {
    let count =
        |(name, store): (&holdfast_keystore::KeyStoreName, &holdfast_keystore::KeyStore)| KeyStoreReport {
            name: name.to_string(),
            keys: store.keys().len(),
            credentials: store.credentials().len(),
        };
    let report = VerifiedReport {
        info: InfoReport::of(file, &opened.info),
        key_stores: opened.contents.key_stores().map(count).collect(),
    };
    if json {
        return Ok(output.json(&report)?);
    }
    report.info.show(output)?;
    output.line("opened      yes: nothing was altered\n")?;
    let row =
        |store: &KeyStoreReport| [store.name.clone(), store.keys.to_string(), store.credentials.to_string()];
    Ok(output.table(["KEY STORE", "KEYS", "CREDENTIALS"], report.key_stores.iter().map(row))?)
}

impl InfoReport {
    fn of(file: &KeystoreFile, info: &Info) -> Self {
        Self {
            file: file.path().to_owned(),
            keystore_id: info.id.to_string(),
            generation: info.generation,
            seal: info.seal.kind().to_string(),
            size: info.sealed_len,
            checksum_ok: info.checksum_ok,
            erasing: info.erasing,
        }
    }

    fn show(&self, output: &mut Output) -> Result<(), CommandError> {
        output.line(format_args!("file        {}", self.file.display()))?;
        output.line(format_args!("keystore    {}", self.keystore_id))?;
        output.line(format_args!("generation  {}", self.generation))?;
        output.line(format_args!("seal        {}", self.seal))?;
        output.line(format_args!("size        {} bytes", self.size))?;
        output.line(format_args!(
            "checksum    {}",
            if self.checksum_ok { "right" } else { "wrong: it is damaged" }
        ))?;
        if self.erasing {
            output.line("erasing     the previous generation may still hold what was destroyed; the next change finishes it")?;
        }
        Ok(())
    }
}
