//! What `/metrics` says is what scrapers read.

use std::io::Write;
use std::process::{Command, Stdio};

use holdfast_tests::{Host, Operation, Setup, encrypt_body};

/// With a request that succeeds, one that is refused and one that isn't authenticated behind it.
fn busy() -> Host {
    let host = Setup::new().key_store("second", "/second").start();
    let mut client = host.client();
    client.call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    client.call(Operation::Encrypt, "nosuch", encrypt_body("text")).refused(404, "KeyNotFoundException");
    let forged = "POST /demo/kms/xks/v1/health HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    host.raw().exchange(forged).refused(401, "AuthenticationFailedException");
    host
}

#[test]
fn promtool_finds_nothing_wrong_with_names_types_and_helps() {
    let host = busy();
    let mut promtool = Command::new(std::env::var_os("HOLDFAST_TEST_PROMTOOL").unwrap_or("promtool".into()));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut checking) = promtool.spawn() else {
        println!("skipped: promtool is neither in PATH nor where HOLDFAST_TEST_PROMTOOL says");
        return;
    };
    checking.stdin.take().unwrap().write_all(host.metrics().as_bytes()).unwrap();
    let checked = checking.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && said.is_empty(), "{said}\n{}", host.metrics());
}

#[test]
fn who_asks_for_open_metrics_gets_it_and_who_does_not_the_text_format() {
    let host = busy();
    let (kind, text) = host.metrics_as("application/openmetrics-text; version=1.0.0, text/plain; q=0.5");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE holdfast_requests counter\n"), "{text}");
    let (kind, plain) = host.metrics_as("*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!plain.contains("EOF") && plain.contains("# TYPE holdfast_requests_total counter\n"), "{plain}");
    for sample in [
        "holdfast_requests_total{error=\"\"} 1",
        "holdfast_requests_total{error=\"KeyNotFoundException\"} 1",
        "holdfast_unauthenticated_total 1",
        "holdfast_policy_decides{key_store=\"second\"} 1",
        "holdfast_request_seconds_bucket{le=\"+Inf\"} 3",
        "holdfast_request_seconds_count 3",
    ] {
        for text in [&text, &plain] {
            assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
        }
    }
}
