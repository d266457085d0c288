//! A policy that fails too often after its activation is taken back by the host itself.

use holdfast_tests::{Host, Operation, Reply, encrypt_body, request_id, wait_for};
use serde_json::json;
use toml::Table;

use crate::artefact::{cedar, misbehaving};
use crate::room::{activate, history, permits, setup, stage, standing};

fn ask(host: &Host, what: &str) -> Reply {
    ask_as(host, "App", what)
}

/// As a session of that role.
fn ask_as(host: &Host, role: &str, what: &str) -> Reply {
    let mut body = encrypt_body("text");
    let principal = format!("arn:aws:sts::123456789012:assumed-role/{role}/{}", request_id());
    body["requestMetadata"]["awsPrincipalArn"] = json!(principal);
    body["requestMetadata"]["kmsOperation"] = json!(what);
    host.client().call(Operation::Encrypt, "demo", body)
}

fn watching(failures: i64) -> holdfast_tests::Setup {
    setup().config(move |config, _| {
        let mut rule = Table::new();
        rule.insert("failures".into(), failures.into());
        config["policies"].as_table_mut().unwrap().insert("automatic_rollback".into(), rule.into());
    })
}

#[test]
fn a_policy_that_fails_too_often_is_taken_back_loudly_and_stays_back() {
    let mut host = watching(5).start();
    let good = cedar(host.scratch(), "good", &permits("good"), "");
    let bad = misbehaving(host.scratch(), "bad", "reads-kms-operation");
    stage(&host, &good);
    stage(&host, &bad);
    activate(&host, &good);
    activate(&host, &bad);
    ask(&host, "Encrypt").ok();
    // One caller takes nothing back, whatever its sessions are called, nor do errors that a caller's words bring about.
    for _ in 0..8 {
        ask_as(&host, "Mallory", "hostile-trap").refused(500, "InternalException");
        ask(&host, "hostile-allow-with-errors").refused(403, "AccessDeniedException");
    }
    let watched = standing(&host, "demo")["watched"].clone();
    assert_eq!((&watched["failures"], &watched["limit"]), (&json!(8), &json!(5)));
    assert!(host.log().contains("too few principals"), "{}", host.log());
    assert_eq!(standing(&host, "demo")["artefact"], bad.digest.as_str());
    ask_as(&host, "Second", "hostile-trap").refused(500, "InternalException");
    ask_as(&host, "Third", "hostile-trap").refused(500, "InternalException");
    wait_for("the rollback", || (standing(&host, "demo")["artefact"] == good.digest.as_str()).then_some(()));
    ask(&host, "hostile-trap").ok();
    let all = history(&host);
    assert!(all[1]["failed"].as_str().unwrap().contains("10 failing decisions"), "{all:?}");
    assert_eq!(all[2]["cause"], "automatic-rollback");
    assert!(host.log().contains("AUTOMATIC ROLLBACK"));
    let recorded = host.audit_records().into_iter().any(|record| record["cause"] == "automatic-rollback");
    assert!(recorded, "it is in the audit log");
    host.restart();
    ask(&host, "hostile-trap").ok();
}

#[test]
fn the_record_of_a_request_without_a_decision_says_which_policy_failed() {
    let host = setup().start();
    let bad = misbehaving(host.scratch(), "bad", "reads-kms-operation");
    stage(&host, &bad);
    let activation = activate(&host, &bad);
    for what in ["hostile-trap", "hostile-loop"] {
        let id = request_id();
        let mut body = encrypt_body("text");
        body["requestMetadata"]["kmsOperation"] = json!(what);
        body["requestMetadata"]["kmsRequestId"] = json!(id);
        host.client().call(Operation::Encrypt, "demo", body).refused(500, "InternalException");
        let record = host.wait_for_record(&id);
        let policy = &record["policy"];
        assert_eq!((&policy["artefact"], &policy["activation"]), (&json!(bad.digest), &json!(activation)));
        assert!(policy["component"].is_string() && policy["revision"].is_string(), "{what}: {policy}");
        assert!(policy.get("effect").is_none() && record["decrypts"].is_array(), "{what}: {record}");
    }
}

#[test]
fn without_the_configuration_asking_for_it_a_failing_policy_stays() {
    let host = setup().start();
    let bad = misbehaving(host.scratch(), "bad", "reads-kms-operation");
    stage(&host, &bad);
    activate(&host, &bad);
    for _ in 0..30 {
        ask(&host, "hostile-trap").refused(500, "InternalException");
    }
    assert_eq!(standing(&host, "demo")["artefact"], bad.digest.as_str());
    assert_eq!(history(&host).len(), 1);
}
