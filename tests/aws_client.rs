//! AWS's own test client (aws-samples/aws-kms-xksproxy-test-client), all of its checks, over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cryptoki::object::Attribute;
use holdfast_test_tokens::{Kind, Token};
use holdfast_tests::{Setup, curl_signs};

/// What it says of all that `-a` checks in version 1.1.0.
const ALL_PASSED: &str = "All 49 tests PASSED.";

#[test]
fn aws_test_client_passes_whole() {
    passes_whole(Setup::new().all_keys());
}

#[test]
fn aws_test_client_passes_whole_on_keys_in_hsms() {
    for kind in [Kind::SoftHsm2, Kind::Kryoptic] {
        for isolation in ["process", "threads"] {
            let Some(token) = Token::make(kind, "aws") else { continue };
            let usage = |encrypt, decrypt| [Attribute::Encrypt(encrypt), Attribute::Decrypt(decrypt)];
            token.create_key("demo");
            token.create_key_with("encrypt-only", &usage(true, false));
            token.create_key_with("decrypt-only", &usage(false, true));
            token.create_key_with("impotent", &usage(false, false));
            let faults = token.faults();
            let mut hsm = toml::Table::new();
            for (name, value) in [("name", "aws"), ("token_label", "aws"), ("isolation", isolation)] {
                hsm.insert(name.into(), value.into());
            }
            hsm.insert("module".into(), faults.module().to_str().unwrap().into());
            hsm.insert("pin_file".into(), token.pin_file().to_str().unwrap().into());
            hsm.insert("create_test_key".into(), true.into());
            print!("{kind:?}, {isolation}: ");
            passes_whole(Setup::new().demo("hsm", vec!["aws"]).config(move |config, _| {
                config.insert("hsm".into(), vec![toml::Value::from(hsm)].into());
            }));
        }
    }
}

/// Runs it against a host of this setup.
fn passes_whole(setup: Setup) {
    let Some(checkout) = std::env::var_os("AWS_XKS_TEST_CLIENT").map(PathBuf::from) else {
        return println!("skipped: AWS_XKS_TEST_CLIENT is not set");
    };
    assert!(checkout.join("test-xks-proxy").is_file(), "{} is no checkout of it", checkout.display());
    if !curl_signs() {
        return;
    }
    let host = setup.tls().start();
    let tools = host.scratch().join("tools");
    if Command::new("uuidgen").output().is_err() {
        // The client needs it for request ids only.
        std::fs::create_dir(&tools).unwrap();
        let uuidgen = tools.join("uuidgen");
        std::fs::write(&uuidgen, "#!/bin/sh\ncat /proc/sys/kernel/random/uuid\n").unwrap();
        std::fs::set_permissions(&uuidgen, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["./test-xks-proxy", "-a"])
        .current_dir(checkout)
        .env("PATH", path)
        .env("XKS_PROXY_HOST", host.authority())
        .env("URI_PREFIX", "demo")
        .env("SIGV4_ACCESS_KEY_ID", &host.credential().access_key_id)
        .env("SIGV4_SECRET_ACCESS_KEY", &host.credential().secret)
        .env("KEY_ID", "demo")
        .env("ENCRYPT_ONLY_KEY_ID", "encrypt-only")
        .env("DECRYPT_ONLY_KEY_ID", "decrypt-only")
        .env("IMPOTENT_KEY_ID", "impotent")
        .env("SECURE", format!("--cacert {}", host.ca_file().display()))
        .env("ANSI_ESCAPE", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{}", said.lines().find(|line| line.contains("PASSED.")).unwrap_or("no summary"));
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("FAILED"), "{said}");
    assert!(said.contains(ALL_PASSED), "{said}");
}
