//! Instances serve many requests here, so what one request leaves behind must not show in another.

use holdfast_tests::{
    HandMade, Host, Operation, Reply, Setup, base64, decrypt_body, encrypt_body, hostile, unbase64,
};
use serde_json::{Value, json};

use crate::{program, setup};

/// One instance for all requests of a test, however many.
const ONE_INSTANCE: [&str; 2] = ["--max-instance-reuse-count", "1000000"];

#[test]
fn requests_at_once_on_one_instance_get_each_their_own_answer() {
    let host = Setup::new().spin(program(), &ONE_INSTANCE).key_store("second", "/second").start();
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let host = &host;
            scope.spawn(move || {
                let mut client = host.client();
                for number in 0..20 {
                    let plaintext = format!("thread {thread}, number {number}");
                    if thread % 4 == 3 {
                        // What fails in between, with a secret in it.
                        let mut body = encrypt_body(&plaintext);
                        body["encryptionAlgorithm"] = "other".into();
                        client.call(Operation::Encrypt, "demo", body).refused(400, "ValidationException");
                        continue;
                    }
                    let encrypted = client.call(Operation::Encrypt, "demo", encrypt_body(&plaintext)).ok();
                    let decrypted = client.call(Operation::Decrypt, "demo", decrypt_body(&encrypted)).ok();
                    assert_eq!(unbase64(&decrypted["plaintext"]), plaintext.as_bytes());
                }
            });
        }
    });
    // Nor does a credential of one key store open the other.
    let mut request = HandMade::new(&host, "/health", holdfast_tests::metadata_body("KmsHealthCheck"));
    request.credential = host.credential_of("second").clone();
    host.raw().exchange(request.sign().bytes()).refused(401, "AuthenticationFailedException");
}

/// A proxy that keeps all that it sees, in one instance.
fn keeper(keys: &[&str]) -> Host {
    let proxy = hostile("keeper");
    let options = [ONE_INSTANCE[0], ONE_INSTANCE[1], "--proxy", proxy.to_str().unwrap()];
    // Spin has no such option; what it composes is no other.
    let setup = Setup::new().spin(env!("CARGO_BIN_EXE_holdfast-spin-host"), &options);
    keys.iter().fold(setup, |setup, key| setup.key(key, "encrypt,decrypt")).start()
}

const SECRET: &str = "the first request's plaintext";

fn encrypt(host: &Host, key: &str, plaintext: &str) -> Reply {
    host.client().call(Operation::Encrypt, key, encrypt_body(plaintext))
}

/// That it works at all, so that the refusals below say something.
#[test]
fn the_keeping_proxy_serves_and_tells_nothing_in_a_refusal() {
    let host = keeper(&["tell"]);
    encrypt(&host, "demo", SECRET).ok();
    let reply = encrypt(&host, "tell", "x");
    reply.refused(403, "AccessDeniedException");
    assert!(!reply.text().contains(&base64(SECRET)) && !reply.text().contains("kept"), "{}", reply.text());
    let unsigned = host.raw().exchange(HandMade::new(&host, "/keys/tell/encrypt", encrypt_body("x")).bytes());
    unsigned.refused(401, "AuthenticationFailedException");
    let elsewhere = HandMade::new(&host, "/keys/tell/none", encrypt_body("x")).sign();
    let reply = host.raw().exchange(elsewhere.bytes());
    reply.refused(404, "InvalidUriPathException");
    assert!(!reply.text().contains("kept"), "{}", reply.text());
}

#[test]
fn an_answer_of_before_does_not_leave() {
    let host = keeper(&["old-answer"]);
    encrypt(&host, "demo", SECRET).ok();
    encrypt(&host, "old-answer", SECRET).refused(500, "InternalException");
}

#[test]
fn admissions_and_grants_of_before_serve_no_other_request() {
    let host = keeper(&["keep-admission", "use-admission", "keep-grant", "use-grant"]);
    for kind in ["admission", "grant"] {
        encrypt(&host, &format!("keep-{kind}"), SECRET).refused(403, "AccessDeniedException");
        let reply = encrypt(&host, &format!("use-{kind}"), SECRET);
        reply.refused(403, "AccessDeniedException");
    }
}

#[test]
fn a_signed_request_is_recorded_though_its_proxy_admits_nothing() {
    let host = keeper(&[]);
    let body = encrypt_body(SECRET);
    let id = body["requestMetadata"]["kmsRequestId"].as_str().unwrap().to_owned();
    let reply = host.client().call(Operation::Encrypt, "admit-nothing", body.clone());
    reply.refused(403, "AccessDeniedException");
    let record = host.wait_for_record(&id);
    assert_eq!(record["accessKeyId"], host.credential().access_key_id.as_str());
    assert_eq!((&record["operation"], &record["status"]), (&json!("Encrypt"), &json!(403)));
    assert_eq!(record["keyId"], "admit-nothing");
    assert_eq!(record["requestMetadata"]["awsPrincipalArn"], body["requestMetadata"]["awsPrincipalArn"]);
    assert_eq!((&record["policy"], &record["keyManager"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_fresh_instance_for_each_request_serves_too() {
    let host = setup().spin(program(), &["--max-instance-reuse-count", "1"]).start();
    for number in 0..20 {
        let plaintext = format!("number {number}");
        let encrypted = encrypt(&host, "demo", &plaintext).ok();
        let decrypted = host.client().call(Operation::Decrypt, "demo", decrypt_body(&encrypted)).ok();
        assert_eq!(unbase64(&decrypted["plaintext"]), plaintext.as_bytes());
    }
}
