//! A key store's label is one key on all of its HSMs: none is made where another HSM has it, or can't say that it hasn't.

use std::process::{Command, Stdio};

use serde::Deserialize;

use super::HsmCommandError;
use crate::config::{Config, Hsm};

#[derive(Deserialize)]
struct Listed {
    label: String,
}

/// Refuses `label` where another HSM of the key store has it. Each is asked by a process of its own: modules are configured by their
/// environment, and one process has one.
pub(super) fn expect_free(config: &Config, hsm: &Hsm, label: &str) -> Result<(), HsmCommandError> {
    let others = config.key_stores.iter().filter_map(|store| store.hsm.as_ref());
    let others = others.filter(|keys| keys.hsms.contains(&hsm.name)).flat_map(|keys| &keys.hsms);
    for other in others.filter(|other| **other != hsm.name) {
        let is_test_key = |hsm: &Hsm| hsm.name == *other && hsm.test_key == label;
        if hsm.test_key == label || config.hsms.iter().any(is_test_key) {
            continue;
        }
        let unasked =
            |why: String| HsmCommandError::Unasked { other: other.clone(), label: label.to_owned(), why };
        let labels = labels(config, other).map_err(unasked)?;
        if labels.iter().any(|taken| taken == label) {
            return Err(HsmCommandError::Taken {
                hsm: hsm.name.clone(),
                other: other.clone(),
                label: label.to_owned(),
            });
        }
    }
    Ok(())
}

fn labels(config: &Config, hsm: &str) -> Result<Vec<String>, String> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["hsm", "list-keys", hsm, "--json", "--config"]).arg(&config.file).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let listed: Vec<Listed> = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(listed.into_iter().map(|key| key.label).collect())
}
