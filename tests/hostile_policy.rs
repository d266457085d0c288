//! What a hostile policy cannot do (`tests/hostile/policy`): it can decide wrongly for its key store, and nothing more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "hostile/expect.rs"]
mod expect;

use expect::{Suspect, honest, honest_beside, timed};
use holdfast_tests::{HandMade, Host, PERMIT_ALL, Reply, Setup, encrypt_body, hostile, request_id};
use serde_json::json;
use std::time::{Duration, Instant};

/// A decision is limited by its own processor time: the request's budget has to be there however long a busy machine takes for that.
const BUDGET: &str = "10s";

/// Key store `demo` decides by the hostile component, by what the document says; any other by Cedar.
fn setup(document: &'static str) -> Setup {
    Setup::new().limit("budget", BUDGET).policy(PERMIT_ALL).component("policy", hostile("policy")).config(
        move |config, home| {
            std::fs::write(home.join("hostile.txt"), document).unwrap();
            config["key_store"][0]["policy"]["files"] = vec!["hostile.txt"].into();
        },
    )
}

/// A well signed request that tells the component what to do; by the key `demo`, which is there.
fn request(host: &Host, name: &str) -> HandMade {
    let mut body = encrypt_body("plaintext");
    body["requestMetadata"]["kmsOperation"] = json!(format!("hostile-{name}"));
    HandMade::new(host, "/keys/demo/encrypt", body).sign()
}

#[track_caller]
fn reply(host: &Host, request: &HandMade) -> Reply {
    timed(host, request.bytes()).0
}

#[test]
fn a_policy_that_fails_refuses_its_own_request_only() {
    let mut host = setup("reads-kms-operation").start();
    let pid = host.pid();
    let suspect = Suspect::new(&host, "policy", &hostile("policy"));
    for (name, kind) in [
        ("trap", "trap"),
        ("loop", "time"),
        ("recurse", "stack"),
        ("overflow", "trap"),
        ("allocate", "memory"),
        ("large", "output"),
        ("vast", "memory"),
        ("vast-lie", "output"),
        ("not-utf8", "output"),
        ("no-rule-of-its", "output"),
        ("many-rules", "output"),
    ] {
        // Twice: a failure isn't kept as a decision.
        suspect.fails_closed(name, kind, request(&host, name).bytes());
        suspect.fails_closed(name, kind, request(&host, name).bytes());
    }
    assert_eq!(host.pid(), pid);
    host.assert_running();
}

#[test]
fn a_policy_decides_wrongly_for_its_own_key_store_only() {
    let host = setup("reads-kms-operation").key_store("second", "/second").start();
    reply(&host, &request(&host, "nothing")).ok();
    reply(&host, &request(&host, "deny")).refused(403, "AccessDeniedException");
    reply(&host, &request(&host, "allow-with-errors")).refused(403, "AccessDeniedException");
    for name in ["deny", "trap", "loop"] {
        let mut second = request(&host, name);
        second.path = "/second/kms/xks/v1/keys/second-key/encrypt".into();
        second.credential = host.credential_of("second").clone();
        reply(&host, &second.sign()).ok();
    }
}

#[test]
fn nothing_is_kept_from_one_decision_to_the_next() {
    // With the request's id among what is read, no decision is answered from the cache.
    let host = setup("reads-kms-operation reads-kms-request-id").start();
    for _ in 0..50 {
        let id = request_id();
        let mut body = encrypt_body("plaintext");
        body["requestMetadata"]["kmsRequestId"] = json!(id);
        reply(&host, &HandMade::new(&host, "/keys/demo/encrypt", body).sign()).ok();
        assert_eq!(host.wait_for_record(&id)["policy"]["rules"], json!(["allowed"]));
    }
    assert!(host.metric(&["holdfast_policy_cache_total", "from=\"miss\""]) >= 50);
    assert_eq!(host.metric(&["holdfast_policy_cache_total", "from=\"hit\""]), 0);
}

#[test]
fn a_fact_that_was_not_asked_for_is_not_shown() {
    for document in
        ["reads-kms-operation", "reads-kms-operation reads-time", "reads-kms-operation reads-kms-request-id"]
    {
        let host = setup(document).start();
        reply(&host, &request(&host, "sees")).ok();
    }
    // That the component would have seen it: the key's id is named in the document for this one only.
    let host = setup("reads-kms-operation reads-key-id").start();
    reply(&host, &request(&host, "sees")).ok();
}

#[test]
fn a_policy_that_fails_to_load_refuses_and_the_other_key_stores_go_on() {
    let mut host = setup("reads-kms-operation").key_store("second", "/second").start();
    for (document, complaint) in [
        ("configure-trap", "trap"),
        ("configure-recurse", "stack"),
        ("configure-overflow", "trap"),
        ("configure-allocate", "memory"),
        ("configure-loop", "(time)"),
        ("describe-trap", "trap"),
    ] {
        std::fs::write(host.home().join("hostile.txt"), document).unwrap();
        let before = host.log().len();
        let start = Instant::now();
        host.restart();
        let took = start.elapsed();
        eprintln!("{document}: {took:?}");
        assert!(took < Duration::from_secs(60), "{document}: {took:?}");
        let text = host.log().split_off(before);
        assert!(text.contains("every operation with its keys is refused"), "{document}: {text}");
        assert!(text.contains(complaint), "{document}: {text}");
        reply(&host, &request(&host, "nothing")).refused(500, "InternalException");
        let mut second = request(&host, "nothing");
        second.path = "/second/kms/xks/v1/keys/second-key/encrypt".into();
        second.credential = host.credential_of("second").clone();
        reply(&host, &second.sign()).ok();
    }
}

#[test]
fn honest_requests_go_on_beside_policies_that_loop() {
    let mut host = setup("reads-kms-operation").key_store("second", "/second").start();
    let pid = host.pid();
    let cedar = || {
        let mut second = HandMade::new(&host, "/keys/second-key/encrypt", encrypt_body("plaintext"));
        second.path = "/second/kms/xks/v1/keys/second-key/encrypt".into();
        second.credential = host.credential_of("second").clone();
        second.sign().bytes()
    };
    let hostile = || request(&host, "loop").bytes();
    // Of another key store, and of the same one when its decision is known already.
    timed(&host, honest(&host)).0.ok();
    for honest in [&cedar as &(dyn Fn() -> Vec<u8> + Sync), &|| honest(&host)] {
        honest_beside(&host, 20, &hostile, honest, 100);
    }
    assert_eq!(host.pid(), pid);
    host.assert_running();
}
