//! Signals, and what load balancers ask.

use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_tests::{Folder, Host, Operation, Setup, encrypt_body, program, wait_for};
use rustix::process::{Pid, Signal, kill_process};

fn ping(host: &Host, method: &str, path: &str) -> (u16, String) {
    let reply = host.raw().exchange(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    (reply.status, reply.text())
}

#[test]
fn a_hangup_looks_at_files_anew_and_ends_nothing() {
    let mut host = Setup::new().start();
    let pid = host.pid();
    host.signal(Signal::HUP);
    wait_for("a line that says so", || host.log().contains("SIGHUP: keystore, certificate").then_some(()));
    host.client().call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    host.assert_running();
    assert_eq!(host.pid(), pid);
}

#[test]
fn a_start_that_hangs_in_a_fifo_can_be_stopped() {
    for fifo in ["components/proxy.wasm", "keystore.seal", "tls/server-key.pem", "policy.cedar"] {
        let folder = Folder::with_demo();
        let path = folder.path("demo").join(fifo);
        std::fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        std::fs::copy(
            holdfast_tests::components().join("sigv4.wasm"),
            folder.path("demo/components/sigv4.wasm"),
        )
        .unwrap();
        if fifo != "components/proxy.wasm" {
            let proxy = holdfast_tests::components().join("proxy.wasm");
            std::fs::copy(proxy, folder.path("demo/components/proxy.wasm")).unwrap();
        }
        let mut command = Command::new(program());
        command.args(["serve", "--config"]).arg(folder.path("demo/holdfast.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Long enough to be in it, mostly; it has to end wherever it is.
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = wait_for("the end", || child.try_wait().unwrap());
        assert!(ended.code().is_none_or(|code| code <= 1), "{fifo}: {ended:?}");
    }
}

#[test]
fn a_balancer_can_ask_for_one_key_store_and_for_no_body() {
    let host = Setup::new().key_store("second", "/second").start();
    assert_eq!(ping(&host, "GET", "/ping"), (200, "{\"status\":\"ok\"}".into()));
    assert_eq!(ping(&host, "GET", "/ping/second"), (200, "{\"status\":\"ok\"}".into()));
    for path in ["/ping", "/ping/demo"] {
        let mut raw = host.raw();
        raw.write(format!("HEAD {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        let answer = String::from_utf8(raw.until_closed().1).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(ping(&host, "GET", "/ping/nosuch").0, 404);
    for status in ["ACTIVE", "DEGRADED", "UNAVAILABLE"] {
        let status_is = format!("status=\"{status}\"");
        let found = host.metric(&["holdfast_key_store_status", "key_store=\"demo\"", &status_is]);
        assert_eq!(found, u64::from(status == "ACTIVE"), "{status}");
    }
}

#[test]
fn a_handshake_that_fails_is_counted_by_its_kind_and_told_with_the_number() {
    use std::io::{Read, Write};
    let host = Setup::new().tls().start();
    for _ in 0..3 {
        let mut stream = std::net::TcpStream::connect(host.address()).unwrap();
        stream.write_all(b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let failed = || host.metric(&["holdfast_tls_handshake_failures_total", "kind=\"not-tls\""]);
    wait_for("the count", || (failed() == 3).then_some(()));
    wait_for("a line", || host.log().contains("TLS handshakes failed").then_some(()));
}

#[test]
fn who_looks_into_the_log_sees_why_requests_are_not_authentic() {
    use holdfast_tests::HandMade;
    let host = Setup::new().start();
    let mut forged = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("text")).sign();
    forged.set("host", "balancer.example:443");
    host.raw().exchange(forged.bytes()).refused(401, "AuthenticationFailedException");
    assert_eq!(host.metric(&["holdfast_authentication_failures_total", "fault=\"signature\""]), 1);
    wait_for("a line", || {
        let log = host.log();
        let line = log.lines().find(|line| line.contains("requests aren't authentic"))?;
        assert!(line.contains("balancer.example:443") && line.contains("count=1"), "{line}");
        Some(())
    });
}
