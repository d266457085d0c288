//! Checklist O7: what is never invalid, and what is a ValidationException and never a 500.

use holdfast_tests::{HandMade, Host, Operation, Reply, decrypt_body, encrypt_body, metadata_body};
use serde_json::{Value, json};

use crate::setup;

fn send(host: &Host, path: &str, body: impl ToString) -> Reply {
    host.raw().exchange(HandMade::new(host, path, body).sign().bytes())
}

/// A change of a body at a path such as `requestMetadata.kmsOperation`; `None` takes it away.
fn changed(body: &Value, path: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let object = if parent.is_empty() { &mut body } else { &mut body[parent] };
    match value {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
    body
}

#[test]
fn o7_an_unknown_kms_operation_is_never_invalid() {
    let host = setup().start();
    for operation in ["ReEncrypt", "SomethingOf2031", "", "x y", "\u{1f511}"] {
        let body = changed(&encrypt_body("x"), "requestMetadata.kmsOperation", Some(json!(operation)));
        host.client().call(Operation::Encrypt, "demo", &body).ok();
    }
}

#[test]
fn o7_a_request_id_is_opaque() {
    let host = setup().start();
    for id in ["x", "no uuid at all", "\"quoted\"\n", "1/2"] {
        let body = changed(&metadata_body("DescribeKey"), "requestMetadata.kmsRequestId", Some(json!(id)));
        host.client().call(Operation::Metadata, "demo", &body).ok();
        host.wait_for_record(id);
    }
}

#[test]
fn o7_unknown_fields_are_ignored() {
    let host = setup().start();
    let mut body = encrypt_body("attack at dawn");
    body["somethingNew"] = json!({ "deep": [1, null, { "er": true }] });
    body["requestMetadata"]["somethingNew"] = json!("x");
    host.client().call(Operation::Encrypt, "demo", &body).ok();
    if let Some(reply) = host.curl("/keys/demo/encrypt", &body, &[]) {
        reply.ok();
    }
}

#[test]
fn o7_optional_fields_may_be_absent() {
    let host = setup().start();
    let mut body = encrypt_body("attack at dawn");
    for field in ["awsSourceVpc", "awsSourceVpce", "kmsViaService"] {
        body = changed(&body, &format!("requestMetadata.{field}"), None);
    }
    host.client().call(Operation::Encrypt, "demo", &body).ok();
}

#[test]
fn o7_missing_fields_and_wrong_types_are_validation_exceptions() {
    let host = setup().start();
    let encrypt = encrypt_body("attack at dawn");
    let decrypt = decrypt_body(&host.client().call(Operation::Encrypt, "demo", &encrypt).ok());
    let of_all = ["requestMetadata", "requestMetadata.kmsOperation", "requestMetadata.kmsRequestId"];
    let of_keys = ["requestMetadata.awsPrincipalArn"];
    let of_data = ["requestMetadata.kmsKeyArn", "encryptionAlgorithm"];
    let of_decrypt = ["ciphertext", "initializationVector", "authenticationTag"];
    let health = metadata_body("KmsHealthCheck");
    for (path, body, fields) in [
        ("/health", &health, vec![&of_all[..]]),
        ("/keys/demo/metadata", &health, vec![&of_all, &of_keys]),
        ("/keys/demo/encrypt", &encrypt, vec![&of_all, &of_keys, &of_data, &["plaintext"]]),
        ("/keys/demo/decrypt", &decrypt, vec![&of_all, &of_keys, &of_data, &of_decrypt]),
    ] {
        for field in fields.into_iter().flatten() {
            for value in [None, Some(json!(null)), Some(json!(1)), Some(json!([])), Some(json!(true))] {
                send(&host, path, changed(body, field, value)).refused(400, "ValidationException");
            }
        }
    }
}

#[test]
fn o7_base64_is_of_the_standard_alphabet_and_padded() {
    let host = setup().start();
    let encrypt = encrypt_body("attack at dawn");
    let decrypt = decrypt_body(&host.client().call(Operation::Encrypt, "demo", &encrypt).ok());
    let bad = ["YQ", "YQ=", "YQ===", "YR==", "-_-_", "YWE\n", " YWE=", "YW E=", "====", "é"];
    for text in bad {
        for field in ["plaintext", "additionalAuthenticatedData"] {
            let body = changed(&encrypt, field, Some(json!(text)));
            send(&host, "/keys/demo/encrypt", body).refused(400, "ValidationException");
        }
        for field in ["ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"] {
            let body = changed(&decrypt, field, Some(json!(text)));
            send(&host, "/keys/demo/decrypt", body).refused(400, "ValidationException");
        }
    }
}

#[test]
fn o7_wrong_lengths_of_iv_tag_and_metadata_are_validation_exceptions() {
    let host = setup().start();
    let decrypt = decrypt_body(&host.client().call(Operation::Encrypt, "demo", encrypt_body("x")).ok());
    let bytes = |length: usize| Some(json!(holdfast_tests::base64(vec![1; length])));
    for (field, lengths) in [
        ("initializationVector", &[0, 11, 13, 17][..]),
        ("authenticationTag", &[0, 12, 15, 17]),
        ("ciphertextMetadata", &[21, 100]),
    ] {
        for length in lengths {
            let body = changed(&decrypt, field, bytes(*length));
            send(&host, "/keys/demo/decrypt", body).refused(400, "ValidationException");
        }
    }
}

#[test]
fn o7_what_is_no_json_object_is_a_validation_exception() {
    let host = setup().start();
    let twice = r#"{"requestMetadata":{"kmsOperation":"a","kmsOperation":"b","kmsRequestId":"x"}}"#;
    for body in
        ["", "{", "[]", "null", "1", "\"x\"", "{} {}", "{\"a\":}", "\u{feff}{}", twice, &"[".repeat(9000)]
    {
        for path in ["/health", "/keys/demo/metadata", "/keys/demo/encrypt", "/keys/demo/decrypt"] {
            send(&host, path, body).refused(400, "ValidationException");
        }
    }
    let mut request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
    request.body.extend(b"\xff");
    host.raw().exchange(request.sign().bytes()).refused(400, "ValidationException");
}
