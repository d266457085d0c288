//! Keys and credentials change while requests go on, and the host takes it up.

use holdfast_tests::{
    Client, Credential, Host, Operation, Protocol, Setup, decrypt_body, encrypt_body, metadata_body,
    unbase64, wait_for,
};
use serde_json::Value;

use crate::traffic::undisturbed;

/// Asks until the answer is of this status; what it was.
#[track_caller]
fn until(client: &mut Client, operation: Operation, key: &str, status: u16) -> Value {
    let body =
        if operation == Operation::Metadata { metadata_body("DescribeKey") } else { encrypt_body("text") };
    wait_for("the change to be taken up", || {
        let reply = client.call(operation, key, &body);
        (reply.status == status).then(|| reply.json())
    })
}

fn client_with(host: &Host, credential: &Credential) -> Client {
    Client::new(host, host.uri_path(), credential, "us-east-1", Protocol::Http1)
}

#[test]
fn a4_keys_are_made_rotated_disabled_enabled_and_destroyed_without_a_failed_request() {
    let mut host = Setup::new().start();
    let pid = host.pid();
    let served = undisturbed(&host, || {
        let mut client = host.client();
        client.call(Operation::Encrypt, "new", encrypt_body("text")).refused(404, "KeyNotFoundException");
        host.holdfast(&["key", "create", "new", "--key-store", "demo"]);
        let first = until(&mut client, Operation::Encrypt, "new", 200);
        host.holdfast(&["key", "rotate", "new", "--key-store", "demo"]);
        let version = |encrypted: &Value| unbase64(&encrypted["ciphertextMetadata"])[1..5].to_vec();
        let second = wait_for("the new version", || {
            let encrypted = client.call(Operation::Encrypt, "new", encrypt_body("text")).ok();
            (version(&encrypted) != version(&first)).then_some(encrypted)
        });
        for encrypted in [&first, &second] {
            let decrypted = client.call(Operation::Decrypt, "new", decrypt_body(encrypted)).ok();
            assert_eq!(unbase64(&decrypted["plaintext"]), b"text");
        }
        host.holdfast(&["key", "disable", "new", "--key-store", "demo"]);
        let refused = until(&mut client, Operation::Encrypt, "new", 400);
        assert_eq!(refused["errorName"], "InvalidStateException");
        assert_eq!(until(&mut client, Operation::Metadata, "new", 200)["keyStatus"], "DISABLED");
        host.holdfast(&["key", "enable", "new", "--key-store", "demo"]);
        until(&mut client, Operation::Encrypt, "new", 200);
        host.holdfast(&["key", "destroy", "new", "--yes", "new", "--key-store", "demo"]);
        let refused = until(&mut client, Operation::Encrypt, "new", 404);
        assert_eq!(refused["errorName"], "KeyNotFoundException");
    });
    println!("{served} requests meanwhile");
    host.assert_running();
    assert_eq!(host.pid(), pid);
}

#[test]
fn a4_credentials_are_added_and_removed_without_a_failed_request_or_a_dropped_connection() {
    let host = Setup::new().start();
    let mut old = host.client();
    old.call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    undisturbed(&host, || {
        let created = host.holdfast(&["credential", "create", "--key-store", "demo"]);
        let credential = Credential::of_kms_config(created.as_bytes());
        let mut new = client_with(&host, &credential);
        until(&mut new, Operation::Encrypt, "demo", 200);
        old.call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
        host.holdfast(&["credential", "remove", &credential.access_key_id, "--key-store", "demo"]);
        let refused = until(&mut new, Operation::Encrypt, "demo", 401);
        assert_eq!(refused["errorName"], "AuthenticationFailedException");
        assert!(!new.connects_anew() && !old.connects_anew(), "a connection was dropped");
    });
}
