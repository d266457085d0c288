//! What both homes have in common: files, keys and records.

use std::collections::BTreeSet;

use holdfast_tests::{
    Host, Operation, Setup, components, decrypt_body, encrypt_body, metadata_body, unbase64,
};
use serde_json::Value;

use crate::{program, setup};

fn encrypt(host: &Host, plaintext: &str) -> Value {
    host.client().call(Operation::Encrypt, "demo", encrypt_body(plaintext)).ok()
}

fn decrypt(host: &Host, encrypted: &Value) -> Vec<u8> {
    unbase64(&host.client().call(Operation::Decrypt, "demo", decrypt_body(encrypted)).ok()["plaintext"])
}

#[test]
fn what_one_home_encrypts_the_other_decrypts() {
    let mut host = Setup::new().start();
    let native = encrypt(&host, "made natively");
    host.restart_in_spin(program(), &[]);
    assert_eq!(decrypt(&host, &native), b"made natively");
    let composed = encrypt(&host, "made under Spin");
    host.holdfast(&["key", "rotate", "demo"]);
    host.restart_in_spin(program(), &[]);
    let rotated = encrypt(&host, "made under Spin, later");
    assert_eq!(decrypt(&host, &composed), b"made under Spin");
    host.restart_natively();
    for (encrypted, plaintext) in
        [(&native, "made natively"), (&composed, "made under Spin"), (&rotated, "made under Spin, later")]
    {
        assert_eq!(decrypt(&host, encrypted), plaintext.as_bytes());
    }
}

#[test]
fn proxy_and_sigv4_are_in_the_composition_byte_for_byte() {
    let read = |name: &str| std::fs::read(components().join(name)).unwrap();
    let composed = read("holdfast-spin.wasm");
    for name in ["proxy.wasm", "sigv4.wasm", "spin-gate.wasm", "spin-front.wasm"] {
        let part = read(name);
        assert!(composed.windows(part.len()).any(|window| window == part), "{name}");
    }
}

/// Nobody else could carry a secret away.
#[test]
fn only_front_and_gate_reach_outside() {
    let imports = |name: &str| -> BTreeSet<String> {
        let component = std::fs::read(components().join(name)).unwrap();
        holdfast_compose::imports(&component).unwrap().into_iter().collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(imports("sigv4.wasm"), names(&[]));
    assert_eq!(imports("proxy.wasm"), names(&["holdfast:gate/types@0.1.0"]));
    assert_eq!(
        imports("policy-cedar.wasm"),
        names(&["holdfast:policy/types@0.1.0"]),
        "types without functions"
    );
    let gate = imports("spin-gate.wasm");
    let outside: Vec<&String> = gate.iter().filter(|name| !name.starts_with("holdfast:")).collect();
    assert_eq!(outside, ["wasi:clocks/system-clock@0.3.0", "wasi:random/random@0.3.0"]);
    for name in imports("holdfast-spin.wasm") {
        let known = [
            "holdfast:policy/",
            "spin:variables/",
            "wasi:cli/",
            "wasi:clocks/",
            "wasi:http/types@",
            "wasi:random/",
        ];
        assert!(known.iter().any(|known| name.starts_with(known)), "{name}");
    }
}

#[test]
fn sizes_are_within_bounds() {
    let size = |name: &str| std::fs::metadata(components().join(name)).unwrap().len();
    let composed = size("holdfast-spin.wasm");
    assert!(composed < 1_500_000, "without a policy: {composed} bytes");
    assert!(composed + size("policy-cedar.wasm") < 6_000_000, "with Cedar: {composed} bytes and Cedar's");
}

#[test]
fn a_record_says_what_the_native_hosts_says() {
    let mut host = Setup::new().start();
    let body = encrypt_body("attack at dawn");
    let records = |host: &Host| -> Vec<Value> {
        host.client().call(Operation::Encrypt, "demo", &body).ok();
        let id = &body["requestMetadata"]["kmsRequestId"];
        let records = host.audit_records().into_iter();
        records.filter(|record| &record["requestMetadata"]["kmsRequestId"] == id).collect()
    };
    let native = records(&host).pop().expect("the record is there before the answer");
    host.restart_in_spin(program(), &[]);
    let composed = records(&host).pop().expect("the record is there before the answer");
    for field in
        ["schema", "keyStore", "accessKeyId", "operation", "keyId", "requestMetadata", "keyManager", "status"]
    {
        assert_eq!(composed[field], native[field], "{field}");
    }
    for field in ["effect", "rules"] {
        assert_eq!(composed["policy"][field], native["policy"][field], "{field}");
    }
}

#[test]
fn ping_answers_a_load_balancer_unsigned() {
    let host = setup().start();
    let reply = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(reply.ok(), serde_json::json!({ "status": "ok" }));
}

#[test]
fn another_method_is_405_and_another_path_404() {
    let host = setup().start();
    for (line, status) in [
        ("GET /demo/kms/xks/v1/health", 405),
        ("PUT /demo/kms/xks/v1/keys/demo/encrypt", 405),
        ("POST /demo/kms/xks/v1/keys/demo", 404),
        ("POST /demo/kms/xks/v1/keys/demo/encrypt?x=1", 404),
        ("POST /demo/kms/xks/v1/keys/a%2fb/encrypt", 404),
        ("POST /other/kms/xks/v1/health", 404),
        ("POST /", 404),
    ] {
        let reply = host.raw().exchange(format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
        reply.refused(status, "InvalidUriPathException");
    }
}

#[test]
fn a_body_over_the_limit_is_unsupported() {
    let host = setup().start();
    let body = encrypt_body(vec![1; 64 * 1024]);
    host.client().call(Operation::Encrypt, "demo", body).refused(501, "UnsupportedOperationException");
    host.client().call(Operation::Metadata, "demo", metadata_body("DescribeKey")).ok();
}
