//! Checklist, "Transport": paths, methods, sizes, and bytes that are no request. TLS is in `tls.rs`.

use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_tests::{
    HandMade, Host, Operation, PATIENCE, Protocol, base64, decrypt_body, encrypt_body, metadata_body,
    unbase64, wait_for,
};
use serde_json::json;

use crate::setup;

/// Far above the limits that the tests set, far below those that `init` sets.
const SECONDS: Duration = Duration::from_secs(4);

#[test]
fn t1_the_four_apis_take_and_give_json() {
    let host = setup().start();
    let mut client = host.client();
    client.call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    client.call(Operation::Metadata, "demo", metadata_body("DescribeKey")).ok();
    let encrypted = client.call(Operation::Encrypt, "demo", encrypt_body("attack at dawn")).ok();
    let decrypted = client.call(Operation::Decrypt, "demo", decrypt_body(&encrypted)).ok();
    assert_eq!(unbase64(&decrypted["plaintext"]), b"attack at dawn");

    let curl = |path, body| host.curl(path, body, &[]).map(|reply| reply.ok());
    curl("/health", metadata_body("KmsHealthCheck"));
    curl("/keys/demo/metadata", metadata_body("DescribeKey"));
    curl("/keys/demo/encrypt", encrypt_body("attack at dawn"));
    if let Some(decrypted) = curl("/keys/demo/decrypt", decrypt_body(&encrypted)) {
        assert_eq!(unbase64(&decrypted["plaintext"]), b"attack at dawn");
    }
}

#[test]
fn t2_get_at_a_known_uri_is_405_signed_or_not() {
    let host = setup().start();
    for path in ["/health", "/keys/demo/metadata", "/keys/demo/encrypt", "/keys/demo/decrypt"] {
        let mut get = HandMade::new(&host, path, "");
        get.method = "GET".into();
        for request in [get.clone(), get.sign()] {
            let reply = host.raw().exchange(request.bytes());
            assert_eq!(reply.status, 405, "{}", reply.text());
            assert_eq!(reply.header("allow"), Some("POST"));
            assert!(reply.json()["errorName"].is_string(), "{}", reply.text());
        }
    }
}

#[test]
fn t2_any_other_path_is_404() {
    let host = setup().start();
    let long = format!("/{}", "a".repeat(300));
    for path in [
        "/",
        "/health",
        "/ping/",
        "/kms/xks/v1/health",
        "/other/kms/xks/v1/health",
        "/demo/kms/xks/v2/health",
        "/demo/kms/xks/v1",
        "/demo/kms/xks/v1/",
        "/demo/kms/xks/v1/health/",
        "/demo/kms/xks/v1/keys/demo",
        "/demo/kms/xks/v1/keys/demo/wrap",
        "/demo/kms/xks/v1//health",
        "/demo/kms/xks/v1/./health",
        "/demo/../demo/kms/xks/v1/health",
        "/demo/kms/xks/v1/health?x=1",
        "/demo/kms/xks/v1/keys/de%6do/metadata",
        &long,
    ] {
        for method in ["POST", "GET"] {
            let mut request = HandMade::new(&host, "", metadata_body("KmsHealthCheck"));
            (request.path, request.method) = (path.to_owned(), method.to_owned());
            let reply = host.raw().exchange(request.sign().bytes());
            reply.refused(404, "InvalidUriPathException");
        }
    }
}

#[test]
fn t4_a_key_store_answers_at_a_prefix_of_any_allowed_length() {
    let prefix = format!("/{}", "a-_Z/9".repeat(19) + "ab");
    assert_eq!(prefix.len() + "/kms/xks/v1".len(), 128);
    let host = setup().key_store("long", &prefix).key_store("bare", "").start();
    for (store, prefix) in [("long", &*prefix), ("bare", "")] {
        let mut request = HandMade::new(&host, "", metadata_body("DescribeKey"));
        request.credential = host.credential_of(store).clone();
        request.path = format!("{prefix}/kms/xks/v1/keys/{store}-key/metadata");
        host.raw().exchange(request.sign().bytes()).ok();
    }
}

#[test]
fn t4_a_uri_has_at_most_256_characters() {
    let prefix = format!("/{}", "p".repeat(109));
    let longest = "k".repeat(256 - prefix.len() - "/kms/xks/v1/keys//encrypt".len());
    let host = setup().key_store("long", &prefix).start();
    for (key, status, error) in
        [(longest.clone(), 404, "KeyNotFoundException"), (longest + "k", 404, "InvalidUriPathException")]
    {
        let mut request = HandMade::new(&host, "", encrypt_body("attack at dawn"));
        request.credential = host.credential_of("long").clone();
        request.path = format!("{prefix}/kms/xks/v1/keys/{key}/encrypt");
        assert_eq!(request.path.len(), if error.starts_with('K') { 256 } else { 257 });
        host.raw().exchange(request.sign().bytes()).refused(status, error);
    }
}

#[test]
fn t4_other_prefixes_are_no_configuration() {
    let host = setup().start();
    let text = std::fs::read_to_string(host.config_file()).unwrap();
    let file = host.home().join("other.toml");
    let long = format!("/{}", "a".repeat(117));
    for prefix in ["demo", "/demo/", "//demo", "/de//mo", "/de.mo", "/de%6do", &long] {
        let changed = text.replace("\"/demo\"", &format!("{prefix:?}"));
        assert_ne!(changed, text);
        std::fs::write(&file, changed).unwrap();
        let output = Command::new(holdfast_tests::program()).arg("check-config").arg(&file).output().unwrap();
        let complaint = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{prefix}");
        assert!(complaint.contains("uri_path_prefix"), "{complaint}");
    }
}

#[test]
fn t5_every_allowed_key_id_works() {
    let longest = "k".repeat(128);
    let ids = ["a", "A-Z.0_9", "...", "-", &longest];
    let host = ids.iter().fold(setup(), |setup, id| setup.key(id, "encrypt,decrypt")).start();
    let mut client = host.client();
    for id in ids {
        client.call(Operation::Metadata, id, metadata_body("DescribeKey")).ok();
    }
    for id in ["", ".", "..", "a b", "a%20b", "é", &"k".repeat(129)] {
        let path = format!("/keys/{id}/metadata");
        let request = HandMade::new(&host, &path, metadata_body("DescribeKey")).sign();
        let reply = host.raw().exchange(request.bytes());
        assert!(matches!(reply.status, 400 | 404), "{id}: {}", reply.text());
        assert!(reply.json()["errorName"].is_string(), "{}", reply.text());
    }
}

#[test]
fn t5_arns_have_up_to_2048_characters() {
    let host = setup().start();
    let arn = |start: &str| format!("{start}{}", "a".repeat(2048 - start.len()));
    let mut body = encrypt_body("attack at dawn");
    body["requestMetadata"]["awsPrincipalArn"] = json!(arn("arn:aws:iam::123456789012:role/"));
    body["requestMetadata"]["kmsKeyArn"] = json!(arn("arn:aws:kms:us-east-1:123456789012:key/"));
    host.client().call(Operation::Encrypt, "demo", body).ok();
}

#[test]
fn t6_plaintext_of_4300_and_aad_of_8192_bytes_go_both_ways() {
    let host = setup().start();
    let (plaintext, aad) = (vec![0xa5; 4300], base64(vec![0x5a; 8192]));
    let mut body = encrypt_body(&plaintext);
    body["additionalAuthenticatedData"] = json!(aad);
    let encrypted = host.client().call(Operation::Encrypt, "demo", &body).ok();
    assert_eq!(unbase64(&encrypted["ciphertext"]).len(), 4300);
    let mut back = decrypt_body(&encrypted);
    back["additionalAuthenticatedData"] = json!(aad);
    let decrypted = host.client().call(Operation::Decrypt, "demo", &back).ok();
    assert_eq!(unbase64(&decrypted["plaintext"]), plaintext);
    if let Some(reply) = host.curl("/keys/demo/encrypt", &body, &[]) {
        reply.ok();
    }
}

#[test]
fn t6_more_than_is_taken_is_unsupported() {
    let host = setup().limit("body_bytes", "256KiB").limit("budget", "2s").start();
    let with_aad = |length| {
        let mut body = encrypt_body("attack at dawn");
        body["additionalAuthenticatedData"] = json!(base64(vec![1; length]));
        host.client().call(Operation::Encrypt, "demo", body)
    };
    with_aad(65_535).ok();
    with_aad(65_536).refused(501, "UnsupportedOperationException");
    let long = host.client().call(Operation::Encrypt, "demo", encrypt_body(vec![1; 256 * 1024]));
    long.refused(501, "UnsupportedOperationException");
}

#[test]
fn t7_ping_answers_a_load_balancer_unsigned() {
    let host = setup().start();
    let reply = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    reply.ok();
}

#[test]
fn t7_ping_fails_when_no_key_store_can_serve() {
    let host = setup().demo("name", "nothing-made-yet").start();
    let reply = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    reply.refused(503, "DependencyTimeoutException");
}

#[test]
fn t7_ping_fails_when_nothing_can_be_recorded() {
    let host = setup().audit("/dev/full").start();
    // Not before a record failed is it known.
    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck")).sign();
    host.raw().exchange(request.bytes()).refused(500, "InternalException");
    let reply = host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    reply.refused(503, "DependencyTimeoutException");
}

#[test]
fn t8_what_is_no_http_is_refused_with_a_json_body() {
    let host = setup().start();
    for bytes in [
        "\r\n\r\nhello\r\n\r\n",
        "POST /demo/kms/xks/v1/health\r\n\r\n",
        "POST /demo/kms/xks/v1/health HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /demo/kms/xks/v1/health HTTP/1.1\r\nhost : x\r\n\r\n",
        "POST /demo/kms/xks/v1/health HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        "POST /demo/kms/xks/v1/health HTTP/1.0\r\nhost: x\r\n\r\n",
        "POST /demo/kms/xks/v1/health HTTP/3.0\r\nhost: x\r\n\r\n",
        "PO(ST /demo/kms/xks/v1/health HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut raw = host.raw();
        raw.write(bytes);
        raw.reply().refused(400, "ValidationException");
    }
    assert_alive(&host);
}

#[test]
fn t8_a_head_that_is_too_long_is_refused_with_a_json_body() {
    let host = setup().start();
    let mut request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck")).sign();
    request.set("x-long", &"a".repeat(17 * 1024));
    host.raw().exchange(request.head()).refused(431, "ValidationException");
    request.set("x-long", "a");
    for number in 0..200 {
        request.set(&format!("x-many-{number}"), "a");
    }
    host.raw().exchange(request.head()).refused(431, "ValidationException");
    request.path = format!("/{}", "a".repeat(70_000));
    let reply = host.raw().exchange(request.head());
    assert!(matches!(reply.status, 414 | 431), "{}", reply.text());
    assert!(reply.json()["errorName"].is_string());
    assert_alive(&host);
}

#[test]
fn t8_http2_errors_have_a_json_body_too() {
    let host = setup().tls().start();
    let mut client = host.client_of(Protocol::Http2);
    let mut request = client.request(Operation::Health, "", metadata_body("KmsHealthCheck"));
    *request.method_mut() = http::Method::GET;
    assert_eq!(client.send(request.clone()).status, 405);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "/nowhere".parse().unwrap();
    client.send(request).refused(404, "InvalidUriPathException");
    let empty = client.request(Operation::Health, "", "");
    client.send(empty).refused(400, "ValidationException");
}

#[test]
fn t9_small_packets_are_not_delayed() {
    let host = setup().start();
    let trace = host.scratch().join("setsockopt");
    let strace = Command::new("strace")
        .args(["-f", "-e", "trace=setsockopt", "-o"])
        .arg(&trace)
        .args(["-p", &host.pid().to_string()])
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut strace) = strace else { return println!("skipped: strace isn't installed") };
    let seen = wait_for("setsockopt, or strace's end", || {
        assert_alive(&host);
        let seen = std::fs::read_to_string(&trace).unwrap_or_default().contains("TCP_NODELAY, [1]");
        (seen || strace.try_wait().unwrap().is_some()).then_some(seen)
    });
    if !seen {
        println!("skipped: strace may not attach to a process here");
    }
    // As a whole process group it isn't needed: strace detaches when it ends.
    let _ = strace.kill();
    let _ = strace.wait();
}

#[test]
fn t9_a_body_over_the_limit_is_refused_before_it_is_read() {
    let host = setup().start();
    let mut request = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("attack at dawn"));
    request.set("content-length", &(1 << 30).to_string());
    // Not one byte of the body is sent.
    host.raw().exchange(request.clone().sign().head()).refused(501, "UnsupportedOperationException");
    host.raw().exchange(request.head()).refused(401, "AuthenticationFailedException");
}

#[test]
fn t9_a_chunked_body_over_the_limit_is_not_read_to_its_end() {
    let host = setup().limit("budget", "5s").start();
    let mut request = HandMade::new(&host, "/keys/demo/encrypt", "");
    request.set("transfer-encoding", "chunked");
    let mut raw = host.raw();
    raw.write(request.sign().head());
    let chunk = [b"1000\r\n".to_vec(), vec![b'a'; 0x1000], b"\r\n".to_vec()].concat();
    for _ in 0..17 {
        raw.write(&chunk);
    }
    raw.reply().refused(501, "UnsupportedOperationException");
}

#[test]
fn t9_half_a_head_is_closed_within_the_limit() {
    let host = setup().limit("header_time", "300ms").start();
    let mut raw = host.raw();
    raw.write("POST /demo/kms/xks/v1/health HTTP/1.1\r\nhost");
    let (waited, _) = raw.until_closed();
    assert!(waited < SECONDS, "{waited:?}");
    let (waited, received) = host.raw().until_closed();
    assert!(waited < SECONDS && received.is_empty(), "{waited:?}");
    assert_alive(&host);
}

#[test]
fn t9_half_a_handshake_is_closed_within_the_limit() {
    let host = setup().tls().limit("handshake_time", "2s").start();
    let mut raw = holdfast_tests::Raw::open_tcp(&host);
    // The beginning of a ClientHello.
    raw.write([0x16, 3, 1, 2, 0, 1]);
    let (waited, _) = raw.until_closed();
    assert!(waited < SECONDS, "{waited:?}");
    host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
}

#[test]
fn t9_half_a_body_is_closed_within_the_limit_authenticated_or_not() {
    let host = setup().limit("header_time", "300ms").start();
    let request = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("attack at dawn"));
    for (request, error) in [(request.clone().sign(), 503), (request, 401)] {
        let mut raw = host.raw();
        let bytes = request.bytes();
        raw.write(&bytes[..bytes.len() - 5]);
        assert_eq!(raw.reply().status, error);
        let (waited, _) = raw.until_closed();
        assert!(waited < SECONDS, "{waited:?}");
    }
    assert_alive(&host);
}

#[test]
fn t9_a_client_that_stops_writing_still_gets_its_answer() {
    let host = setup().start();
    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck")).sign();
    let mut raw = host.raw();
    raw.write(request.bytes());
    raw.end_writing();
    raw.reply().ok();
    assert!(raw.until_closed().0 < PATIENCE);
}

#[test]
fn t9_expect_100_continue_is_answered() {
    let host = setup().start();
    if let Some(reply) =
        host.curl("/keys/demo/encrypt", encrypt_body("attack at dawn"), &["--header", "expect: 100-continue"])
    {
        reply.ok();
    }
}

/// Another client is still served.
#[track_caller]
fn assert_alive(host: &Host) {
    host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
}
