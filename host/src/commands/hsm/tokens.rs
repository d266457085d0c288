//! The tokens of modules, shown. Nobody logs in.

use std::path::{Path, PathBuf};

use holdfast_pkcs11::admin::{self, SlotDescription};
use serde::Serialize;

use super::super::{CommandError, Output};
use super::chosen::HsmCommandError;
use super::environment::{restore_environment, set_environment};
use crate::config::{Config, Hsm};

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

/// A module whose tokens are shown.
struct Listed<'a> {
    module: &'a Path,
    thread_safe: bool,
    environment: &'a [(String, String)],
}

/// Those of one module.
pub(super) fn of_one(module: &Path, json: bool, output: &mut Output) -> Result<(), CommandError> {
    list(&[Listed { module, thread_safe: true, environment: &[] }], json, output)
}

/// Those of all modules of the configuration.
pub(super) fn of_all(config: &Config, json: bool, output: &mut Output) -> Result<(), CommandError> {
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
