//! Checklist, "Time": the budget and the rate.

use std::time::{Duration, Instant};

use holdfast_tests::{HandMade, Operation, Setup, encrypt_body, metadata_body, wait_for};

#[test]
fn d1_a_slow_body_is_answered_when_the_budget_is_over() {
    let host = Setup::new().limit("budget", "150ms").start();
    for path in ["/keys/demo/encrypt", "/health"] {
        let bytes = HandMade::new(&host, path, encrypt_body("attack at dawn")).sign().bytes();
        let mut raw = host.raw();
        let start = Instant::now();
        raw.write(&bytes[..bytes.len() - 1]);
        raw.reply().refused(503, "DependencyTimeoutException");
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(145), "not before the budget of 150 ms: {waited:?}");
        // By the budget's end, and not by a connection's; how soon after it is what the bench tells.
        assert!(waited < Duration::from_secs(20), "{waited:?}");
    }
}

#[test]
fn d1_the_budget_is_configured_and_another_connection_is_not_held_up() {
    let host = Setup::new().limit("budget", "5s").start();
    let bytes = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("attack at dawn")).sign().bytes();
    let mut slow = host.raw();
    slow.write(&bytes[..bytes.len() - 1]);
    host.client().call(Operation::Encrypt, "demo", encrypt_body("x")).ok();
    // Still in time.
    slow.write(&bytes[bytes.len() - 1..]);
    slow.reply().ok();
}

#[test]
fn d2_more_than_the_rate_is_throttled_and_the_next_second_is_not() {
    let host = crate::setup().rate(5, 3).start();
    let mut client = host.client();
    let mut health = || client.call(Operation::Health, "", metadata_body("KmsHealthCheck"));
    let replies: Vec<_> = (0..40).map(|_| health()).collect();
    let good = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((3..40).contains(&good), "{good}");
    let throttled = replies.iter().find(|reply| reply.status != 200).unwrap();
    throttled.refused(429, "ThrottlingException");
    wait_for("room for more", || (health().status == 200).then_some(()));
    assert!(host.metric(&["holdfast_requests_total", "ThrottlingException"]) > 0);
}

#[test]
fn d2_what_is_not_authenticated_takes_no_room() {
    let host = crate::setup().rate(1, 2).start();
    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
    let mut raw = host.raw();
    for _ in 0..20 {
        raw.exchange(request.bytes()).refused(401, "AuthenticationFailedException");
    }
    raw.exchange(request.sign().bytes()).ok();
}

#[test]
fn d2_init_configures_kmss_quota_of_1800_requests_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("new");
    let status = std::process::Command::new(holdfast_tests::program())
        .arg("init")
        .arg(&home)
        .arg("--components")
        .arg(holdfast_tests::components())
        .output()
        .unwrap()
        .status;
    assert!(status.success());
    let config: toml::Table = std::fs::read_to_string(home.join("holdfast.toml")).unwrap().parse().unwrap();
    assert_eq!(config["key_store"][0]["rate_limit"].as_integer(), Some(1800));
}
