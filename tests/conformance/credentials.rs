//! Checklist A3, A4, A6: access key ids, secrets, and their change in a running host.

use std::collections::HashSet;

use holdfast_tests::{Client, Credential, HandMade, Host, Operation, Protocol, metadata_body, wait_for};

use crate::setup;

fn create(host: &Host) -> Credential {
    Credential::of_kms_config(host.holdfast(&["credential", "create"]).as_bytes())
}

fn client_of(host: &Host, credential: &Credential) -> Client {
    Client::new(host, host.uri_path(), credential, "us-east-1", Protocol::Http1)
}

fn health(client: &mut Client) -> u16 {
    client.call(Operation::Health, "", metadata_body("KmsHealthCheck")).status
}

#[test]
fn a3_credentials_are_of_the_specifications_grammar() {
    let host = setup().start();
    let mut seen = HashSet::new();
    for credential in [host.credential().clone(), create(&host), create(&host)] {
        let (id, secret) = (credential.access_key_id, credential.secret);
        assert!(
            (20..=30).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')),
            "{id}"
        );
        assert!((43..=64).contains(&secret.len()));
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"/+=".contains(&b)));
        assert!(seen.insert(id) && seen.insert(secret), "each is new");
    }
}

#[test]
fn a3_an_id_belongs_to_one_secret() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().start();
    let second = create(&host);
    wait_for("the new credential", || (health(&mut client_of(&host, &second)) == 200).then_some(()));
    let mixed = Credential { access_key_id: second.access_key_id, secret: host.credential().secret.clone() };
    assert_eq!(health(&mut client_of(&host, &mixed)), 401);
}

#[test]
fn a3_other_ids_are_refused() {
    let host = setup().start();
    for id in [
        "A",
        "ABCDEFGHIJKLMNOPQRS",
        "abcdefghijklmnopqrst",
        "ABCDEFGHIJKLMNOPQRS1",
        &"A".repeat(31),
        "A/B",
        "",
    ] {
        let mut request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
        request.credential.access_key_id = id.into();
        host.raw().exchange(request.sign().bytes()).refused(401, "AuthenticationFailedException");
    }
}

#[test]
fn a4_credentials_change_while_a_connection_goes_on() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().start();
    let (mut first, mut raw) = (host.client(), host.raw());
    assert_eq!(health(&mut first), 200);
    let second = create(&host);
    let mut second_client = client_of(&host, &second);
    wait_for("the new credential", || (health(&mut second_client) == 200).then_some(()));
    assert_eq!(health(&mut first), 200, "both live");
    assert!(!first.connects_anew(), "the connection goes on");

    // One connection, both credentials.
    let by = |credential: &Credential| {
        let mut request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
        request.credential = credential.clone();
        request.sign().bytes()
    };
    raw.exchange(by(host.credential())).ok();
    raw.exchange(by(&second)).ok();
    if let Some(reply) = host.curl_as(&second, "us-east-1", "/health", metadata_body("KmsHealthCheck"), &[]) {
        reply.ok();
    }

    host.holdfast(&["credential", "remove", &host.credential().access_key_id]);
    wait_for("the old credential's end", || {
        (raw.exchange(by(host.credential())).status == 401).then_some(())
    });
    raw.exchange(by(&second)).ok();
    assert_eq!(health(&mut first), 401);
    assert!(!first.connects_anew(), "the connection goes on");
}

#[test]
fn a6_several_regions_can_be_allowed() {
    let regions: Vec<toml::Value> = vec!["us-east-1".into(), "eu-central-1".into()];
    let host = setup().demo("regions", regions).start();
    for (region, status) in [("us-east-1", 200), ("eu-central-1", 200), ("eu-west-1", 401)] {
        let mut client = Client::new(&host, host.uri_path(), host.credential(), region, Protocol::Http1);
        // Twice: by a derived key and by the cached one.
        assert_eq!([health(&mut client), health(&mut client)], [status, status], "{region}");
    }
}
