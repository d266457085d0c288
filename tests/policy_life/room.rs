//! A host with an admin socket, and `holdfast policy` beside it.

use std::path::PathBuf;
use std::process::{Command, Output};

use holdfast_tests::{Host, Setup, program};
use serde_json::Value;
use toml::Table;

use crate::artefact::Artefact;

/// Permits everything, by a rule of this name.
pub fn permits(rule: &str) -> String {
    format!("@id({rule:?}) permit (principal, action, resource);\n")
}

/// Forbids everything, by a rule of this name.
pub fn forbids(rule: &str) -> String {
    format!("@id({rule:?}) forbid (principal, action, resource);\n")
}

/// A host that takes unsigned policies, and has all the time it needs for a request.
pub fn setup() -> Setup {
    Setup::new().limit("budget", "5s").config(|config, home| {
        let mut admin = Table::new();
        admin.insert("socket".into(), home.join("admin.sock").to_str().unwrap().into());
        config.insert("admin".into(), admin.into());
        let mut policies = Table::new();
        policies.insert("allow_unsigned".into(), true.into());
        config.insert("policies".into(), policies.into());
    })
}

pub fn socket(host: &Host) -> PathBuf {
    host.home().join("admin.sock")
}

/// Runs `holdfast policy ARGUMENTS --json`, whatever comes of it.
pub fn try_policy(host: &Host, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("policy").args(arguments).arg("--json").arg("--config").arg(host.config_file());
    command.output().unwrap()
}

/// Runs `holdfast policy ARGUMENTS`, which must succeed; its answer.
#[track_caller]
pub fn policy(host: &Host, arguments: &[&str]) -> Value {
    let output = try_policy(host, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs `holdfast policy ARGUMENTS`, which must be refused; the complaint.
#[track_caller]
pub fn refused(host: &Host, arguments: &[&str]) -> String {
    let output = try_policy(host, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// Stages, which must succeed.
#[track_caller]
pub fn stage(host: &Host, artefact: &Artefact) -> Value {
    let staged = policy(host, &["stage", artefact.file.to_str().unwrap()]);
    assert_eq!(staged["staged"]["staged"]["artefact"], artefact.digest.as_str());
    staged
}

/// Activates for key store `demo`; the activation's number.
#[track_caller]
pub fn activate(host: &Host, artefact: &Artefact) -> u64 {
    let done = policy(host, &["activate", &artefact.digest, "--key-store", "demo"]);
    done["activated"]["changes"][0]["activation"].as_u64().unwrap()
}

/// How key store `name` stands; `policy status` may fail.
pub fn standing(host: &Host, name: &str) -> Value {
    let output = try_policy(host, &["status"]);
    let status: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let stores = status["status"]["key_stores"].as_array().unwrap().clone();
    stores.into_iter().find(|store| store["key_store"] == name).unwrap()
}

/// The activations of key store `demo`.
pub fn history(host: &Host) -> Vec<Value> {
    policy(host, &["history", "--key-store", "demo"])["history"][0][1].as_array().unwrap().clone()
}
