//! A policy that can't be loaded refuses; the host and its other key stores go on.

use holdfast_tests::{Host, Operation, Protocol, Reply, encrypt_body};

use crate::artefact::cedar;
use crate::room::{activate, permits, policy, setup, stage, standing, try_policy};

fn second(host: &Host) -> Reply {
    let path = "/second/kms/xks/v1";
    let mut client =
        holdfast_tests::Client::new(host, path, host.credential_of("second"), "us-east-1", Protocol::Http1);
    client.call(Operation::Encrypt, "second-key", encrypt_body("text"))
}

fn demo(host: &Host) -> Reply {
    host.client().call(Operation::Encrypt, "demo", encrypt_body("text"))
}

/// `demo` refuses for this reason, everywhere it can be seen; `second` serves.
#[track_caller]
fn demo_refuses(host: &Host, why: &str) {
    demo(host).refused(500, "InternalException");
    second(host).ok();
    let ping = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(ping.status, 200);
    assert!(ping.text().contains("demo") && !ping.text().contains("second"), "{}", ping.text());
    let status = try_policy(host, &["status"]);
    assert_eq!(status.status.code(), Some(1));
    let standing = standing(host, "demo");
    assert_eq!(standing["decides"], false);
    assert!(standing["why"].as_str().unwrap().contains(why), "{standing}");
    let log = host.log();
    assert!(log.contains("every operation with its keys is refused") && log.contains(why), "{log}");
    assert!(host.metric(&["holdfast_policy_decides", "key_store=\"demo\""]) == 0);
    assert!(host.metric(&["holdfast_policy_decides", "key_store=\"second\""]) == 1);
}

#[test]
fn an_activated_policy_that_is_damaged_refuses_after_a_restart_until_another_is_activated() {
    let mut host = setup().key_store("second", "/second").start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    stage(&host, &one);
    activate(&host, &one);
    let file = host.home().join(format!("policies/artefacts/{}.wasm", one.digest));
    let mut content = std::fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&file, content).unwrap();
    demo(&host).ok();
    host.restart();
    demo_refuses(&host, "damaged or gone");
    // Not with the configuration's policy by itself, but when it is told so.
    policy(&host, &["rollback", "--to", "0", "--key-store", "demo"]);
    demo(&host).ok();
    stage(&host, &one);
    activate(&host, &one);
    host.restart();
    demo(&host).ok();
}

#[test]
fn a_configured_policy_that_is_wrong_refuses_for_its_key_store_only() {
    let mut host = setup()
        .key_store("second", "/second")
        .config(|config, home| {
            std::fs::write(home.join("demo.cedar"), permits("demo")).unwrap();
            config["key_store"][0]["policy"]["files"] = vec!["demo.cedar"].into();
        })
        .start();
    demo(&host).ok();
    std::fs::write(host.home().join("demo.cedar"), "permit (principal, action\n").unwrap();
    host.restart();
    demo_refuses(&host, "demo.cedar:1:");
    std::fs::remove_file(host.home().join("demo.cedar")).unwrap();
    host.restart();
    demo_refuses(&host, "demo.cedar");
}

#[test]
fn a_damaged_registry_refuses_for_all_key_stores_that_it_could_speak_for() {
    let mut host = setup().start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    stage(&host, &one);
    activate(&host, &one);
    std::fs::write(host.home().join("policies/state.json"), "{").unwrap();
    host.restart();
    demo(&host).refused(500, "InternalException");
    let ping = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(ping.status, 503, "no key store can serve: {}", ping.text());
    let text = ping.text();
    assert!(text.contains("demo") && text.contains("policy can't be loaded"), "{text}");
    assert!(!text.contains("state.json"), "whoever asks learns no paths: {text}");
    assert!(standing(&host, "demo")["why"].as_str().unwrap().contains("state.json"));
}
