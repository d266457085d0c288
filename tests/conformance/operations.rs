//! Checklist O1, O2, O6, O8, O9: keys, their usage and state, and health. `cryptography.rs` looks into ciphertexts.

use holdfast_tests::{
    HandMade, Host, Operation, decrypt_body, encrypt_body, metadata_body, unbase64, wait_for,
};
use serde_json::{Value, json};

use crate::setup;

fn metadata(host: &Host, key: &str) -> Value {
    host.client().call(Operation::Metadata, key, metadata_body("DescribeKey")).ok()
}

#[test]
fn o1_metadata_tells_spec_usage_and_status() {
    let host = setup().all_keys().start();
    for (key, usage, status) in [
        ("demo", json!(["ENCRYPT", "DECRYPT"]), "ENABLED"),
        ("encrypt-only", json!(["ENCRYPT"]), "ENABLED"),
        ("decrypt-only", json!(["DECRYPT"]), "ENABLED"),
        ("impotent", json!([]), "ENABLED"),
        ("disabled", json!(["ENCRYPT", "DECRYPT"]), "DISABLED"),
    ] {
        let wanted = json!({ "keySpec": "AES_256", "keyUsage": usage, "keyStatus": status });
        assert_eq!(metadata(&host, key), wanted, "{key}");
        if let Some(reply) = host.curl(&format!("/keys/{key}/metadata"), metadata_body("DescribeKey"), &[]) {
            assert_eq!(reply.ok(), wanted);
        }
    }
}

#[test]
fn o1_changes_of_a_key_show_in_a_running_host() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().start();
    host.holdfast(&["key", "disable", "demo"]);
    wait_for("DISABLED", || (metadata(&host, "demo")["keyStatus"] == "DISABLED").then_some(()));
    host.holdfast(&["key", "enable", "demo"]);
    wait_for("ENABLED", || (metadata(&host, "demo")["keyStatus"] == "ENABLED").then_some(()));
}

#[test]
fn o2_encrypt_gives_ciphertext_iv_tag_and_metadata_of_the_right_sizes() {
    let host = setup().start();
    let mut client = host.client();
    for length in [1, 15, 16, 17, 32, 4096, 4300] {
        let plaintext = vec![7; length];
        let encrypted = client.call(Operation::Encrypt, "demo", encrypt_body(&plaintext)).ok();
        let size = |field: &str| unbase64(&encrypted[field]).len();
        assert_eq!(size("ciphertext"), length);
        assert!(matches!(size("initializationVector"), 12 | 16));
        assert_eq!(size("authenticationTag"), 16);
        assert!(encrypted.get("ciphertextMetadata").is_none() || size("ciphertextMetadata") <= 20);
        assert!(encrypted.get("ciphertextDataIntegrityValue").is_none(), "it wasn't asked for");
        // One byte of ciphertext is its plaintext once in 256 times.
        assert!(length < 15 || unbase64(&encrypted["ciphertext"]) != plaintext);
        let decrypted = client.call(Operation::Decrypt, "demo", decrypt_body(&encrypted)).ok();
        assert_eq!(unbase64(&decrypted["plaintext"]), plaintext);
    }
}

#[test]
fn o2_the_same_plaintext_never_encrypts_alike() {
    let host = setup().start();
    let mut client = host.client();
    let mut encrypt = || client.call(Operation::Encrypt, "demo", encrypt_body("attack at dawn")).ok();
    let (one, other) = (encrypt(), encrypt());
    for field in ["ciphertext", "initializationVector", "authenticationTag"] {
        assert_ne!(one[field], other[field], "{field}");
    }
}

#[test]
fn o2_another_algorithm_is_refused() {
    let host = setup().start();
    let mut body = encrypt_body("attack at dawn");
    body["encryptionAlgorithm"] = json!("AES_CBC");
    host.client().call(Operation::Encrypt, "demo", body).refused(400, "ValidationException");
}

#[test]
fn o6_an_unknown_key_or_another_key_stores_is_not_found() {
    let host = setup().key_store("second", "/second").start();
    for key in ["unknown", "Demo", "second-key"] {
        let mut client = host.client();
        client
            .call(Operation::Metadata, key, metadata_body("DescribeKey"))
            .refused(404, "KeyNotFoundException");
        client.call(Operation::Encrypt, key, encrypt_body("x")).refused(404, "KeyNotFoundException");
        if let Some(reply) = host.curl(&format!("/keys/{key}/encrypt"), encrypt_body("x"), &[]) {
            reply.refused(404, "KeyNotFoundException");
        }
    }
    let mut own = HandMade::new(&host, "", metadata_body("DescribeKey"));
    own.credential = host.credential_of("second").clone();
    own.path = "/second/kms/xks/v1/keys/second-key/metadata".into();
    host.raw().exchange(own.sign().bytes()).ok();
}

#[test]
fn o6_a_key_does_only_what_it_is_for() {
    let host = setup().all_keys().start();
    let mut client = host.client();
    let encrypted = client.call(Operation::Encrypt, "encrypt-only", encrypt_body("attack at dawn")).ok();
    for (key, operation) in [
        ("encrypt-only", Operation::Decrypt),
        ("decrypt-only", Operation::Encrypt),
        ("impotent", Operation::Encrypt),
        ("impotent", Operation::Decrypt),
    ] {
        let body = if operation == Operation::Encrypt {
            encrypt_body("attack at dawn")
        } else {
            decrypt_body(&encrypted)
        };
        client.call(operation, key, body).refused(400, "InvalidKeyUsageException");
    }
}

#[test]
fn o6_a_disabled_key_is_in_an_invalid_state() {
    let host = setup().disabled_key("disabled").start();
    let mut client = host.client();
    let encrypted = client.call(Operation::Encrypt, "demo", encrypt_body("attack at dawn")).ok();
    client.call(Operation::Encrypt, "disabled", encrypt_body("x")).refused(400, "InvalidStateException");
    client
        .call(Operation::Decrypt, "disabled", decrypt_body(&encrypted))
        .refused(400, "InvalidStateException");
}

#[test]
fn o8_health_tells_of_fleet_vendor_model_and_managers() {
    let host = setup().demo("fleet_size", 3).start();
    let health = host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    assert_eq!(health["xksProxyFleetSize"], 3);
    for field in ["xksProxyVendor", "ekmVendor"] {
        assert!(!health[field].as_str().unwrap().is_empty(), "{health}");
    }
    let version = host.holdfast(&["--version"]);
    let version = version.trim().rsplit_once(' ').unwrap().1;
    assert!(health["xksProxyModel"].as_str().unwrap().contains(version), "{health}");
    let managers = health["ekmFleetDetails"].as_array().unwrap();
    assert!((1..=10).contains(&managers.len()));
    for manager in managers {
        assert!(["ACTIVE", "DEGRADED", "UNAVAILABLE"].contains(&manager["healthStatus"].as_str().unwrap()));
        assert!(manager["id"].is_string() && manager["model"].is_string());
    }
    if let Some(reply) = host.curl("/health", metadata_body("KmsHealthCheck"), &[]) {
        assert_eq!(reply.ok(), health);
    }
}

#[test]
fn o8_health_is_never_subject_to_policy() {
    let host = setup().policy("@id(\"none\") forbid (principal, action, resource);").start();
    let mut client = host.client();
    client.call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    client
        .call(Operation::Metadata, "demo", metadata_body("DescribeKey"))
        .refused(403, "AccessDeniedException");
}

#[test]
fn o8_health_needs_no_principal_and_no_key() {
    let host = setup().start();
    let body = json!({ "requestMetadata": { "kmsRequestId": "x", "kmsOperation": "KmsHealthCheck" } });
    host.client().call(Operation::Health, "", &body).ok();
    if let Some(reply) = host.curl("/health", &body, &[]) {
        reply.ok();
    }
}

#[test]
fn o9_health_comes_from_a_real_encryption() {
    if crate::differs("health is checked when it is asked for") {
        return;
    }
    let host = setup()
        .config(|config, _| {
            let stores = config["key_store"].as_array_mut().unwrap();
            let mut empty = stores[0].as_table().unwrap().clone();
            empty.insert("name".into(), "not-in-the-keystore".into());
            empty.insert("uri_path_prefix".into(), "/empty".into());
            stores.push(empty.into());
        })
        .start();
    let health = host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    assert_eq!(health["ekmFleetDetails"][0]["healthStatus"], "ACTIVE");
    let log = host.log();
    let line =
        |text: &str| log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(line("encrypts and decrypts").contains("demo"));
    assert!(line("can't encrypt and decrypt with its test key").contains("not-in-the-keystore"));
}

#[test]
fn o9_a_manager_that_comes_to_work_becomes_active_without_a_restart() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().demo("name", "later").start();
    let ping = || host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").status;
    assert_eq!(ping(), 503);
    let made = host.holdfast(&["credential", "create"]);
    wait_for("a manager that can encrypt", || (ping() == 200).then_some(()));
    let mut request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
    request.credential = holdfast_tests::Credential::of_kms_config(made.as_bytes());
    let health = host.raw().exchange(request.sign().bytes()).ok();
    assert_eq!(health["ekmFleetDetails"][0]["healthStatus"], "ACTIVE");
}
