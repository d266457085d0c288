//! What a hostile proxy cannot do (`tests/hostile/proxy`): it can refuse, and nothing more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "hostile/channels.rs"]
mod channels;
#[path = "hostile/expect.rs"]
mod expect;

use expect::{BUDGET, DEADLINE, Suspect, honest, honest_beside, timed};
use holdfast_tests::{
    HandMade, Host, Reply, Setup, base64, decrypt_body, encrypt_body, hostile, metadata_body, program,
    request_id, unbase64,
};
use serde_json::{Value, json};
use std::process::Command;

fn setup() -> Setup {
    Setup::new().limit("budget", BUDGET).component("proxy", hostile("proxy"))
}

/// A well signed request whose path tells the component what to do before it asks the gate.
fn early(host: &Host, name: &str) -> Vec<u8> {
    let path = format!("/keys/hostile-{name}/encrypt");
    HandMade::new(host, &path, encrypt_body("plaintext")).sign().bytes()
}

/// A well signed request for the key `demo` whose body tells the component what to do after it was admitted.
fn late(host: &Host, operation: &str, name: &str, mut body: Value) -> Vec<u8> {
    body["requestMetadata"]["awsPrincipalTag"] = json!(format!("hostile-{name}"));
    let path = if operation == "health" { "/health".to_owned() } else { format!("/keys/demo/{operation}") };
    HandMade::new(host, &path, body).sign().bytes()
}

fn late_encrypt(host: &Host, name: &str) -> Vec<u8> {
    let mut body = encrypt_body("plaintext");
    body["additionalAuthenticatedData"] = json!(base64("aad"));
    body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
    late(host, "encrypt", name, body)
}

/// The body of a decrypt request that succeeds.
fn decryptable(host: &Host, plaintext: &[u8]) -> Value {
    let request = HandMade::new(host, "/keys/demo/encrypt", encrypt_body(plaintext)).sign();
    decrypt_body(&timed(host, request.bytes()).0.ok())
}

#[track_caller]
fn reply(host: &Host, request: Vec<u8>) -> Reply {
    timed(host, request).0
}

#[test]
fn a_proxy_that_fails_refuses_its_own_request_only() {
    let mut host = setup().start();
    let pid = host.pid();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    let kinds = [
        ("trap", "trap"),
        ("loop", "time"),
        ("recurse", "stack"),
        ("overflow", "trap"),
        ("allocate", "memory"),
    ];
    for (name, kind) in kinds {
        suspect.fails_closed(name, kind, early(&host, name));
        suspect.fails_closed(&format!("{name}, once admitted"), kind, late_encrypt(&host, name));
    }
    for (name, kind) in [("trap-after", "trap"), ("loop-after", "time"), ("allocate-after", "memory")] {
        suspect.fails_closed(name, kind, late_encrypt(&host, name));
        suspect.fails_closed(name, kind, late(&host, "decrypt", name, decryptable(&host, b"plaintext")));
    }
    assert_eq!(host.pid(), pid);
    host.assert_running();
}

#[test]
fn l1_an_authenticated_request_is_recorded_even_when_its_proxy_admits_nothing() {
    let host = setup().start();
    for name in ["trap", "allocate", "recurse", "drop"] {
        let body = encrypt_body("plaintext");
        let id = body["requestMetadata"]["kmsRequestId"].as_str().unwrap().to_owned();
        let path = format!("/keys/hostile-{name}/encrypt");
        let request = HandMade::new(&host, &path, body.clone()).sign();
        reply(&host, request.bytes()).refused(500, "InternalException");
        let record = host.wait_for_record(&id);
        assert_eq!(record["accessKeyId"], host.credential().access_key_id.as_str(), "{name}");
        assert_eq!((&record["operation"], &record["status"]), (&json!("Encrypt"), &json!(500)), "{name}");
        assert_eq!(record["keyId"], format!("hostile-{name}"));
        assert_eq!(record["requestMetadata"]["awsPrincipalArn"], body["requestMetadata"]["awsPrincipalArn"]);
        assert_eq!((&record["policy"], &record["keyManager"]), (&Value::Null, &Value::Null), "{name}");
    }
    // What nobody has signed isn't recorded by itself.
    let mut forged = HandMade::new(&host, "/keys/hostile-trap/encrypt", encrypt_body("plaintext")).sign();
    forged.body.push(b' ');
    reply(&host, forged.bytes()).refused(401, "AuthenticationFailedException");
    assert_eq!(host.audit_records().iter().filter(|record| record.get("status").is_some()).count(), 4);
}

/// Whether a call at this depth is answered by `status`, and not refused for the lack of stack.
#[track_caller]
fn fits(host: &Host, depth: u64, request: &[u8], status: u16) -> bool {
    let (reply, took) = timed(host, request);
    assert!(took < DEADLINE, "depth {depth} took {took:?}");
    match reply.status {
        500 => false,
        answered if answered == status => true,
        _ => panic!("depth {depth}: {}", reply.text()),
    }
}

#[test]
fn a_host_call_at_any_depth_of_the_stack_is_answered_or_refused() {
    // A policy that reads each request's own id is run each time, so that it is at work beside the proxy.
    let mut host = setup()
        .component("policy", hostile("policy"))
        .config(|config, home| {
            std::fs::write(home.join("hostile.txt"), "reads-kms-request-id").unwrap();
            config["key_store"][0]["policy"]["files"] = vec!["hostile.txt"].into();
        })
        .start();
    let pid = host.pid();
    // Admitted there, by a key that isn't; then, admitted near the top, authorized and encrypted there.
    let admitted = |depth: u64| fits(&host, depth, &early(&host, &format!("deep-{depth}")), 404);
    let encrypted = |depth: u64| fits(&host, depth, &late_encrypt(&host, &format!("deep-{depth}")), 200);
    let probes: [&dyn Fn(u64) -> bool; 2] = [&admitted, &encrypted];
    for fits in probes {
        assert!(fits(1), "a call near the top is an honest request");
        // Between the deepest call that is answered and the first that is refused lies the one with the fullest stack.
        let (mut answered, mut refused) = (1, 1_000_000);
        assert!(!fits(refused));
        while refused - answered > 1 {
            let middle = answered.midpoint(refused);
            if fits(middle) { answered = middle } else { refused = middle }
        }
        eprintln!("the deepest host call that is answered is {answered} calls down");
        for depth in answered.saturating_sub(60)..=answered + 60 {
            fits(depth);
        }
    }
    assert_eq!(host.pid(), pid);
    let failures = Suspect::new(&host, "proxy", &hostile("proxy")).failures("stack");
    assert!(failures > 120, "{failures}");
    host.assert_running();
}

#[test]
fn an_answer_that_the_gate_has_no_part_in_does_not_leave() {
    let host = setup().start();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    for name in [
        "drop",
        "unasked-encrypted",
        "unasked-plaintext",
        "unasked-metadata",
        "unasked-nothing",
        "unasked-created",
        "status-0",
        "status-100",
        "status-204",
        "status-302",
        "status-65535",
        "other-pair",
        "other-name",
        "success-with-error",
        "error-with-member",
        "name-twice",
        "message-512",
        "message-8-bit",
        "message-control",
        "not-json",
        "json-and-more",
        "array",
        "deep-json",
    ] {
        suspect.fails_closed(name, "answer", early(&host, name));
    }
    for (name, kind) in [("large", "output"), ("vast", "memory"), ("vast-lie", "trap"), ("not-utf8", "trap")]
    {
        suspect.fails_closed(name, kind, early(&host, name));
    }
    // Refusing is what a proxy may do, in the specification's words.
    reply(&host, early(&host, "refuse")).refused(403, "AccessDeniedException");
    reply(&host, early(&host, "message-511")).refused(403, "AccessDeniedException");
}

#[test]
fn a_success_that_differs_from_the_gates_result_does_not_leave() {
    let host = setup().start();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    for name in [
        "altered",
        "extra-member",
        "extra-plaintext",
        "member-twice",
        "no-member",
        "twice",
        "spaced-base64",
        "unasked",
        "metadata-instead",
    ] {
        suspect.fails_closed(name, "answer", late_encrypt(&host, name));
    }
    for name in [
        "altered",
        "extra-member",
        "refuse-after",
        "plaintext-in-error",
        "no-member",
        "twice",
        "unasked",
        "metadata-instead",
    ] {
        let body = decryptable(&host, b"sixteen bytes +1.");
        suspect.fails_closed(&format!("decrypt, {name}"), "answer", late(&host, "decrypt", name, body));
    }
    for name in ["extra-member", "no-member", "more-usage", "disabled-instead", "unasked"] {
        let body = metadata_body("DescribeKey");
        suspect.fails_closed(&format!("metadata, {name}"), "answer", late(&host, "metadata", name, body));
    }
    for name in ["extra-member", "no-member", "healthier", "larger-fleet", "unasked"] {
        let body = metadata_body("KmsHealthCheck");
        suspect.fails_closed(&format!("health, {name}"), "answer", late(&host, "health", name, body));
    }
}

#[test]
fn nothing_but_the_signed_key_operation_and_inputs_is_processed() {
    let host = setup().key("other", "encrypt,decrypt").start();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    for name in [
        "other-key",
        "ask-for-decrypt",
        "ask-for-metadata",
        "other-plaintext",
        "shorter-plaintext",
        "other-aad",
        "other-cdiv",
        "decrypt-with-it",
        "health-of-a-key",
    ] {
        suspect.fails_closed(name, "inputs", late_encrypt(&host, name));
    }
    suspect.fails_closed("vast-plaintext", "output", late_encrypt(&host, "vast-plaintext"));
    for name in ["other-ciphertext", "other-iv", "other-tag", "other-aad", "other-metadata", "other-key"] {
        let body = decryptable(&host, b"plaintext");
        suspect.fails_closed(&format!("decrypt, {name}"), "inputs", late(&host, "decrypt", name, body));
    }
    let health = late(&host, "health", "key-of-a-health", metadata_body("KmsHealthCheck"));
    suspect.fails_closed("key-of-a-health", "inputs", health);
}

#[test]
fn a_handle_is_good_for_one_use_and_cannot_be_made_up() {
    let host = setup().start();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    for name in ["forged-request", "forged-admission", "forged-grant", "request-as-grant", "admit-twice"] {
        suspect.fails_closed(name, "trap", early(&host, name));
    }
    for name in ["authorize-twice", "encrypt-twice"] {
        suspect.fails_closed(name, "trap", late_encrypt(&host, name));
    }
    let body = decryptable(&host, b"plaintext");
    suspect.fails_closed("decrypt-twice", "trap", late(&host, "decrypt", "decrypt-twice", body));
}

#[test]
fn no_body_is_shown_before_it_is_authenticated() {
    let host = setup().start();
    let suspect = Suspect::new(&host, "proxy", &hostile("proxy"));
    let mut body = encrypt_body("plaintext");
    body["requestMetadata"]["awsPrincipalTag"] = json!("hostile-trap");
    // The component traps once it has seen this body; of a request that isn't authentic it never does.
    let good = HandMade::new(&host, "/keys/demo/encrypt", &body).sign();
    suspect.fails_closed("shown once authenticated", "trap", good.bytes());
    let mut altered = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("plaintext")).sign();
    altered.body = body.to_string().into_bytes();
    reply(&host, altered.bytes()).refused(401, "AuthenticationFailedException");
    assert_eq!(suspect.all_failures(), 1);
}

/// What a proxy tries with an admission or a grant.
const TRIES: [&str; 12] = [
    "nothing",
    "other-key",
    "ask-for-decrypt",
    "ask-for-metadata",
    "other-plaintext",
    "decrypt-with-it",
    "health-of-a-key",
    "unasked",
    "altered",
    "authorize-twice",
    "encrypt-twice",
    "metadata-instead",
];

#[test]
fn metadata_cannot_be_hidden_from_the_policy() {
    let policy = "@id(\"all\") permit (principal, action, resource);\n\
        @id(\"not-via-ebs\") forbid (principal, action, resource) when { context has viaService && context.viaService == \"ebs\" };\n";
    let host = setup().policy(policy).start();
    for name in TRIES {
        let id = request_id();
        let mut body = encrypt_body("plaintext");
        body["requestMetadata"]["kmsRequestId"] = json!(id);
        let reply = reply(&host, late(&host, "encrypt", name, body));
        assert_ne!(reply.status, 200, "{name}");
        let record = host.wait_for_record(&id);
        assert_ne!(record["policy"]["effect"], "allow", "{name}: {record}");
        assert_eq!(record["requestMetadata"]["kmsViaService"], "ebs", "{name}: {record}");
        assert!(record["keyManager"].is_null(), "{name}: {record}");
    }
}

#[test]
fn an_operation_that_was_done_is_recorded_whatever_the_proxy_answers() {
    let host = setup().start();
    for (name, status) in [("refuse-after", 500), ("trap-after", 500), ("loop-after", 500), ("unasked", 500)]
    {
        let id = request_id();
        let mut body = decryptable(&host, b"plaintext");
        body["requestMetadata"]["kmsRequestId"] = json!(id);
        assert_eq!(reply(&host, late(&host, "decrypt", name, body)).status, status, "{name}");
        let record = host.wait_for_record(&id);
        assert_eq!(record["operation"], "Decrypt", "{record}");
        assert_eq!(record["policy"]["effect"], "allow", "{record}");
        assert_eq!(record["status"], status, "{record}");
        assert!(record["keyManager"].is_string(), "{record}");
    }
}

#[test]
fn a_plaintext_in_an_error_message_reaches_nobody_and_no_log() {
    let host = setup().environment("RUST_LOG", "trace").start();
    let plaintext = b"a plaintext that no log may hold";
    for name in ["plaintext-in-error", "trap-after", "unasked", "nothing"] {
        let body = decryptable(&host, plaintext);
        let reply = reply(&host, late(&host, "decrypt", name, body));
        match name {
            "nothing" => assert_eq!(unbase64(&reply.ok()["plaintext"]), plaintext),
            _ => assert!(!reply.text().contains(&base64(plaintext)), "{}", reply.text()),
        }
    }
    for log in [host.log(), host.audit_text()] {
        assert!(!log.is_empty());
        assert!(!log.contains(&base64(plaintext)), "a log holds the plaintext in base64");
        assert!(!log.contains(std::str::from_utf8(plaintext).unwrap()), "a log holds the plaintext");
    }
}

#[test]
fn a_proxy_that_asks_for_more_than_the_gate_is_refused_by_name() {
    let host = Setup::new().limit("budget", BUDGET).start();
    let file = hostile("imports");
    let inspected = Command::new(program()).args(["component", "inspect"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(!inspected.status.success(), "{text}");
    assert!(text.contains("imports wasi:clocks/wall-clock@0.2.0;"), "{text}");
    assert!(text.contains("imports wasi:filesystem/preopens@0.2.0;"), "{text}");

    let mut config: toml::Table = std::fs::read_to_string(host.config_file()).unwrap().parse().unwrap();
    config["components"]["proxy"]["path"] = file.to_str().unwrap().into();
    config["audit"]["path"] = "other-audit.jsonl".into();
    let other = host.home().join("imports.toml");
    std::fs::write(&other, config.to_string()).unwrap();
    let served = Command::new(program()).args(["serve", "--config"]).arg(&other).output().unwrap();
    let complaint = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(!served.status.success(), "{complaint}");
    assert!(complaint.contains("wasi:clocks/wall-clock@0.2.0"), "{complaint}");
}

#[test]
fn honest_requests_go_on_beside_proxies_that_loop() {
    let mut host = setup().start();
    let pid = host.pid();
    honest_beside(&host, 20, &|| early(&host, "loop"), &|| honest(&host), 100);
    assert_eq!(host.pid(), pid);
    host.assert_running();
}

#[test]
fn proxies_that_take_all_their_memory_leave_the_host_with_its_own() {
    let mut host = setup().start();
    for _ in 0..200 {
        reply(&host, early(&host, "fill")).refused(500, "InternalException");
    }
    honest_beside(&host, 20, &|| early(&host, "fill"), &|| honest(&host), 100);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("resident after: {} MiB", kib / 1024);
    assert!(kib < 512 * 1024, "{kib} KiB are resident");
    host.assert_running();
}
