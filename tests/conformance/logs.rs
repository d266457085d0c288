//! Checklist, "Logs": what a record holds, and what no log holds.

use holdfast_tests::{HandMade, Operation, Protocol, base64, decrypt_body, encrypt_body, metadata_body};
use serde_json::json;

use crate::setup;

#[test]
fn l1_a_record_holds_all_that_is_known_of_a_request() {
    if crate::differs("a component can't know the digests of others") {
        return;
    }
    let host = setup().start();
    let mut body = encrypt_body("attack at dawn");
    body["requestMetadata"]["kmsNewField"] = json!("new");
    host.client().call(Operation::Encrypt, "demo", &body).ok();
    let id = body["requestMetadata"]["kmsRequestId"].as_str().unwrap();
    // Written before the answer left, so it is there already.
    let record =
        host.audit_records().into_iter().find(|record| record["requestMetadata"]["kmsRequestId"] == id);
    let record = record.expect("the record is there before the answer");

    assert_eq!(record["schema"], 1);
    for field in [
        "awsPrincipalArn",
        "awsSourceVpc",
        "awsSourceVpce",
        "kmsKeyArn",
        "kmsOperation",
        "kmsRequestId",
        "kmsViaService",
    ] {
        assert_eq!(record["requestMetadata"][field], body["requestMetadata"][field], "{field}");
    }
    assert_eq!(record["requestMetadata"]["other"]["kmsNewField"], "new");
    assert_eq!(record["keyStore"], "demo");
    assert_eq!(record["keyId"], "demo");
    assert_eq!(record["operation"], "Encrypt");
    assert_eq!(record["accessKeyId"], *host.credential().access_key_id);
    assert_eq!(record["status"], 200);
    assert_eq!(record["errorName"], json!(null));
    assert_eq!(record["policy"]["effect"], "allow");
    assert_eq!(record["policy"]["rules"], json!(["permit-all"]));
    assert!(!record["policy"]["revision"].as_str().unwrap().is_empty());
    assert_eq!(record["keyManager"], "keystore");
    assert!(record["microseconds"].as_u64().unwrap() > 0);
    assert!(record["policyTime"].as_u64().unwrap() > 1_700_000_000);
    assert!(record["time"].as_str().unwrap().ends_with('Z'));
    for digest in [&record["policy"]["component"], &record["proxyComponent"], &record["sigv4Component"]] {
        assert_eq!(digest.as_str().unwrap().len(), 64, "{digest}");
    }
}

#[test]
fn l1_every_authenticated_request_has_one_record_whatever_came_of_it() {
    let host = setup().all_keys().start();
    let mut client = host.client();
    let mut wanted = Vec::new();
    for (operation, key, body, status, error) in [
        (Operation::Health, "", metadata_body("KmsHealthCheck"), 200, json!(null)),
        (Operation::Metadata, "demo", metadata_body("DescribeKey"), 200, json!(null)),
        (Operation::Encrypt, "demo", encrypt_body("x"), 200, json!(null)),
        (Operation::Encrypt, "disabled", encrypt_body("x"), 400, json!("InvalidStateException")),
        (Operation::Encrypt, "impotent", encrypt_body("x"), 400, json!("InvalidKeyUsageException")),
        (Operation::Encrypt, "unknown", encrypt_body("x"), 404, json!("KeyNotFoundException")),
        (Operation::Encrypt, "demo", metadata_body("Encrypt"), 400, json!("ValidationException")),
    ] {
        assert_eq!(client.call(operation, key, &body).status, status);
        wanted.push((body["requestMetadata"]["kmsRequestId"].clone(), json!(status), error));
    }
    let records = host.audit_records();
    assert_eq!(records.len(), wanted.len());
    for (record, (id, status, error)) in records.iter().zip(wanted) {
        assert_eq!((&record["status"], &record["errorName"]), (&status, &error), "{record}");
        // Of an encrypt request without a plaintext too.
        assert_eq!(record["requestMetadata"]["kmsRequestId"], id);
    }
}

#[test]
fn l1_unauthenticated_failures_are_counted_and_not_recorded_one_by_one() {
    if crate::differs("nothing counts beyond an instance") {
        return;
    }
    let mut host = setup().start();
    let mut raw = host.raw();
    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
    let mut forged = request.clone().sign();
    forged.body.push(b' ');
    for _ in 0..50 {
        raw.exchange(request.bytes()).refused(401, "AuthenticationFailedException");
        raw.exchange(forged.bytes()).refused(401, "AuthenticationFailedException");
    }
    assert_eq!(host.metric(&["holdfast_unauthenticated_total"]), 100);
    host.terminate();
    host.wait();
    let records = host.audit_records();
    assert!(records.len() < 10, "{records:?}");
    assert!(records.iter().all(|record| record["type"] == "authentication-failures"), "{records:?}");
    assert_eq!(records.iter().filter_map(|record| record["count"].as_u64()).sum::<u64>(), 100);
}

#[test]
fn l1_a_sink_that_fails_refuses_every_request() {
    if crate::differs("records go to the standard error") {
        return;
    }
    let host = setup().audit("/dev/full").start();
    let mut client = host.client();
    for _ in 0..3 {
        client.call(Operation::Encrypt, "demo", encrypt_body("x")).refused(500, "InternalException");
    }
    assert_eq!(host.metric(&["holdfast_unrecorded_total"]), 3);
    assert_eq!(host.metric(&["holdfast_requests_total", "error=\"\""]), 0);
}

#[test]
fn l2_no_log_holds_a_plaintext_a_secret_or_a_signature() {
    if crate::differs("TLS and its log are Spin's") {
        return;
    }
    // Over HTTP/2, whose library has the most to say.
    let mut host = setup().tls().environment("RUST_LOG", "trace").start();
    let plaintext = "attack at dawn, but tell nobody";
    let mut client = host.client_of(Protocol::Http2);
    let request = client.request(Operation::Encrypt, "demo", encrypt_body(plaintext));
    let signature =
        request.headers()["authorization"].to_str().unwrap().rsplit_once('=').unwrap().1.to_owned();
    let encrypted = client.send(request).ok();
    client.call(Operation::Decrypt, "demo", decrypt_body(&encrypted)).ok();
    // Also where a request fails with the plaintext in it.
    client.call(Operation::Encrypt, "unknown", encrypt_body(plaintext)).refused(404, "KeyNotFoundException");
    let mut broken = encrypt_body(plaintext);
    broken["encryptionAlgorithm"] = json!(plaintext);
    client.call(Operation::Encrypt, "demo", broken).refused(400, "ValidationException");
    let mut forged = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body(plaintext)).sign();
    forged.body.push(b' ');
    host.raw().exchange(forged.bytes()).refused(401, "AuthenticationFailedException");
    let forged = forged.header("authorization").rsplit_once('=').unwrap().1.to_owned();

    let seal = std::fs::read(host.home().join("keystore.seal")).unwrap();
    host.terminate();
    host.wait();
    let (log, audit) = (host.log(), host.audit_text());
    assert!(log.contains("TRACE") && audit.contains("KeyNotFoundException"));
    for (what, secret) in [
        ("the plaintext", plaintext),
        ("the plaintext in base64", &base64(plaintext)),
        ("the secret", &host.credential().secret),
        ("a signature", &signature),
        ("a refused signature", &forged),
        ("the seal", std::str::from_utf8(&seal).map_or("no text at all", str::trim)),
    ] {
        assert!(!secret.is_empty());
        assert!(!log.contains(secret), "the log holds {what}");
        assert!(!audit.contains(secret), "the audit log holds {what}");
    }
}
