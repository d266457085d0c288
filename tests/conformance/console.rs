//! Checklist K1: the JSON file that the KMS console takes.

use std::collections::BTreeSet;

use holdfast_tests::{Operation, metadata_body, wait_for};
use serde_json::Value;

use crate::setup;

#[test]
fn k1_the_file_has_the_consoles_fields_and_no_others() {
    let host = setup().start();
    let file: Value = serde_json::from_str(&host.holdfast(&["kms-config"])).unwrap();
    // As a set: the order of a parsed object's members depends on how serde_json was built.
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let exactly = |names: [&str; 2]| BTreeSet::from(names.map(str::to_owned));
    assert_eq!(names(&file), exactly(["XksProxyAuthenticationCredential", "XksProxyUriPath"]));
    assert_eq!(file["XksProxyUriPath"], host.uri_path());
    let credential = &file["XksProxyAuthenticationCredential"];
    assert_eq!(names(credential), exactly(["AccessKeyId", "RawSecretAccessKey"]));
    assert_eq!(credential["AccessKeyId"], *host.credential().access_key_id);
    assert_eq!(credential["RawSecretAccessKey"], *host.credential().secret);
}

#[test]
fn k1_what_the_file_says_signs_requests() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().start();
    let made = host.holdfast(&["credential", "create"]);
    let credential = holdfast_tests::Credential::of_kms_config(made.as_bytes());
    let again = host.holdfast(&["kms-config", &credential.access_key_id]);
    assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), serde_json::from_str::<Value>(&again).unwrap());
    let path = serde_json::from_str::<Value>(&made).unwrap()["XksProxyUriPath"].as_str().unwrap().to_owned();
    let mut client =
        holdfast_tests::Client::new(&host, &path, &credential, "us-east-1", holdfast_tests::Protocol::Http1);
    wait_for("the new credential", || {
        let reply = client.call(Operation::Health, "", metadata_body("KmsHealthCheck"));
        (reply.status == 200).then_some(())
    });
}
