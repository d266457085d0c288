//! A candidate decides beside the active policy without counting.

use holdfast_tests::{Host, Operation, encrypt_body, wait_for};

use crate::artefact::{cedar, misbehaving};
use crate::room::{forbids, permits, policy, refused, setup, stage, standing};

fn ask(host: &Host, times: usize) {
    let mut client = host.client();
    for _ in 0..times {
        client.call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    }
}

fn count(host: &Host, result: &str) -> u64 {
    host.metric(&["holdfast_policy_shadow_total", "key_store=\"demo\"", &format!("result=\"{result}\"")])
}

#[test]
fn differences_of_the_shadow_are_counted_grouped_and_logged_and_nobody_is_refused() {
    let mut host = setup().start();
    let stricter = format!(
        "{}@id(\"no-encrypt\") forbid (principal, action == Action::\"Encrypt\", resource);\n",
        permits("one")
    );
    let candidate = cedar(host.scratch(), "candidate", &stricter, "");
    stage(&host, &candidate);
    policy(&host, &["shadow", &candidate.digest, "--key-store", "demo"]);
    ask(&host, 10);
    wait_for("the shadow's decisions", || (count(&host, "would-deny") == 10).then_some(()));
    assert_eq!(count(&host, "dropped"), 0);
    let shadow = standing(&host, "demo")["shadow"].clone();
    assert_eq!(shadow[0], candidate.digest.as_str());
    let group = &shadow[1]["groups"][0];
    assert_eq!(group[1], 10);
    assert_eq!(
        (group[0]["operation"].as_str(), group[0]["key_id"].as_str()),
        (Some("Encrypt"), Some("demo"))
    );
    assert_eq!(group[0]["candidate_rules"][0], "no-encrypt");
    assert!(host.log().contains("the shadow policy decides otherwise"));

    host.restart();
    ask(&host, 3);
    wait_for("the shadow's decisions after a restart", || (count(&host, "would-deny") == 3).then_some(()));
    policy(&host, &["shadow", "--off", "--key-store", "demo"]);
    ask(&host, 3);
    assert!(standing(&host, "demo")["shadow"].is_null());
}

#[test]
fn a_shadow_that_agrees_is_counted_too_and_stays_over_an_activation() {
    let host = setup().start();
    let same = cedar(host.scratch(), "same", &permits("permit-all"), "");
    let denies = cedar(host.scratch(), "denies", &forbids("nobody"), "");
    stage(&host, &same);
    stage(&host, &denies);
    policy(&host, &["shadow", &same.digest]);
    ask(&host, 5);
    wait_for("the shadow's decisions", || (count(&host, "same") == 5).then_some(()));
    policy(&host, &["activate", &denies.digest]);
    host.client()
        .call(Operation::Encrypt, "demo", encrypt_body("text"))
        .refused(403, "AccessDeniedException");
    wait_for("what would be allowed", || (count(&host, "would-allow") == 1).then_some(()));
}

#[test]
fn a_shadow_that_loops_slows_nothing_and_its_queue_is_bounded() {
    let host = setup().start();
    let slow = misbehaving(host.scratch(), "slow", "reads-kms-operation reads-kms-request-id");
    stage(&host, &slow);
    policy(&host, &["shadow", &slow.digest]);
    let mut client = host.client();
    let mut body = encrypt_body("text");
    body["requestMetadata"]["kmsOperation"] = "hostile-loop".into();
    // The shadow gives up after 50 ms each, so the queue of 1,024 fills as long as more than 20 a second come.
    wait_for("a full queue", || {
        for _ in 0..100 {
            client.call(Operation::Encrypt, "demo", &body).ok();
        }
        (count(&host, "dropped") > 0).then_some(())
    });
    wait_for("a failure of the shadow", || (count(&host, "would-fail") > 0).then_some(()));
}

#[test]
fn a_shadow_beside_nothing_is_refused() {
    let without = |config: &mut toml::Table, _: &std::path::Path| {
        config["key_store"][0].as_table_mut().unwrap().remove("policy");
    };
    let host = setup().config(without).start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    stage(&host, &one);
    let complaint = refused(&host, &["shadow", &one.digest]);
    assert!(complaint.contains("demo") && complaint.contains("activate one first"), "{complaint}");
    policy(&host, &["activate", &one.digest]);
    policy(&host, &["shadow", &one.digest]);
}
