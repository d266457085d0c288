//! Checklist, "Errors": each errorName of the specification is seen with its status, and its message is fit to print.

use holdfast_tests::{HandMade, Operation, decrypt_body, encrypt_body, metadata_body};

use crate::setup;

#[test]
fn e1_every_error_name_has_its_status() {
    if crate::differs("there is no rate and no budget") {
        return;
    }
    let policy = "@id(\"one-key\") forbid (principal, action, resource == Key::\"forbidden\");\n";
    let host = setup()
        .policy(&format!("{policy}{}", holdfast_tests::PERMIT_ALL))
        .all_keys()
        .key_store("slow", "/slow")
        .config(|config, _| {
            let store = config["key_store"].as_array_mut().unwrap()[1].as_table_mut().unwrap();
            store.insert("rate_limit".into(), 1.into());
            store.insert("burst".into(), 1.into());
        })
        .start();
    let mut client = host.client();
    let mut call = |operation, key: &str, body| client.call(operation, key, body);
    let encrypted = call(Operation::Encrypt, "demo", encrypt_body("attack at dawn"));
    let mut altered = decrypt_body(&encrypted.ok());
    altered["ciphertext"] = "YQ==".into();

    call(Operation::Encrypt, "demo", metadata_body("Encrypt")).refused(400, "ValidationException");
    call(Operation::Encrypt, "disabled", encrypt_body("x")).refused(400, "InvalidStateException");
    call(Operation::Decrypt, "demo", altered).refused(400, "InvalidCiphertextException");
    call(Operation::Encrypt, "decrypt-only", encrypt_body("x")).refused(400, "InvalidKeyUsageException");
    call(Operation::Encrypt, "forbidden", encrypt_body("x")).refused(403, "AccessDeniedException");
    call(Operation::Encrypt, "unknown", encrypt_body("x")).refused(404, "KeyNotFoundException");
    call(Operation::Encrypt, "demo", encrypt_body(vec![1; 64 * 1024]))
        .refused(501, "UnsupportedOperationException");

    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck"));
    host.raw().exchange(request.bytes()).refused(401, "AuthenticationFailedException");
    let mut elsewhere = request.clone();
    elsewhere.path = "/elsewhere".into();
    host.raw().exchange(elsewhere.sign().bytes()).refused(404, "InvalidUriPathException");

    let signed = request.clone().sign().bytes();
    let mut raw = host.raw();
    raw.write(&signed[..signed.len() - 1]);
    raw.reply().refused(503, "DependencyTimeoutException");

    let mut often = request;
    often.credential = host.credential_of("slow").clone();
    often.path = "/slow/kms/xks/v1/health".into();
    let often = often.sign().bytes();
    let mut raw = host.raw();
    let refused = (0..3).map(|_| raw.exchange(&often)).find(|reply| reply.status != 200);
    refused.expect("more than one a second").refused(429, "ThrottlingException");
}

#[test]
fn e1_a_request_that_cannot_be_recorded_is_an_internal_exception() {
    if crate::differs("records go to the standard error") {
        return;
    }
    let host = setup().audit("/dev/full").start();
    host.client().call(Operation::Encrypt, "demo", encrypt_body("x")).refused(500, "InternalException");
    if let Some(reply) = host.curl("/keys/demo/encrypt", encrypt_body("x"), &[]) {
        reply.refused(500, "InternalException");
    }
}

#[test]
fn e1_a_message_repeats_nothing_of_the_request() {
    let host = setup().start();
    let plaintext = "c2VjcmV0IHBsYWludGV4dA";
    for body in [
        format!("{{\"plaintext\":\"{plaintext}\""),
        format!("{{\"plaintext\":\"{plaintext}\",\"requestMetadata\":1}}"),
        encrypt_body("x")
            .to_string()
            .replace("\"plaintext\":\"eA==\"", &format!("\"plaintext\":\"{plaintext}=\"")),
    ] {
        let reply = host.client().call(Operation::Encrypt, "demo", &body);
        reply.refused(400, "ValidationException");
        assert!(!reply.text().contains(plaintext), "{}", reply.text());
    }
}
