//! Checklist O3, O4, O5: the AAD's frame, the CDIV, and altered ciphertexts.

use holdfast_tests::{Host, Operation, Reply, base64, decrypt_body, encrypt_body, unbase64};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::setup;

fn encrypt(host: &Host, aad: Option<&[u8]>, with_cdiv: bool) -> Value {
    let mut body = encrypt_body("attack at dawn");
    if let Some(aad) = aad {
        body["additionalAuthenticatedData"] = json!(base64(aad));
    }
    if with_cdiv {
        body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
    }
    host.client().call(Operation::Encrypt, "demo", body).ok()
}

fn decrypt(host: &Host, encrypted: &Value, aad: Option<&[u8]>) -> Reply {
    let mut body = decrypt_body(encrypted);
    if let Some(aad) = aad {
        body["additionalAuthenticatedData"] = json!(base64(aad));
    }
    host.client().call(Operation::Decrypt, "demo", body)
}

/// SHA-256 over AAD, metadata, IV, ciphertext and tag (spec: appendix C).
fn cdiv(encrypted: &Value, aad: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new_with_prefix(aad);
    for field in ["ciphertextMetadata", "initializationVector", "ciphertext", "authenticationTag"] {
        hash.update(encrypted.get(field).map(unbase64).unwrap_or_default());
    }
    hash.finalize().to_vec()
}

#[test]
fn o3_the_aad_is_bound_to_the_ciphertext() {
    let host = setup().start();
    let aad = b"project=nile,department=marketing";
    let encrypted = encrypt(&host, Some(aad), false);
    assert_eq!(unbase64(&decrypt(&host, &encrypted, Some(aad)).ok()["plaintext"]), b"attack at dawn");
    for other in [None, Some(&b"project=nile,department=marketinG"[..]), Some(&aad[1..])] {
        decrypt(&host, &encrypted, other).refused(400, "InvalidCiphertextException");
    }
    // Absent and empty are the same: both have length zero.
    let without = encrypt(&host, None, false);
    decrypt(&host, &without, Some(b"")).ok();
}

#[test]
fn o3_bytes_do_not_move_between_aad_and_metadata() {
    let host = setup().start();
    let aad = b"project=nile";
    let encrypted = encrypt(&host, Some(aad), false);
    let metadata = unbase64(&encrypted["ciphertextMetadata"]);
    let mut moved = encrypted.clone();
    moved["ciphertextMetadata"] = json!(base64(&metadata[1..]));
    decrypt(&host, &moved, Some(&[aad, &metadata[..1]].concat())).refused(400, "InvalidCiphertextException");
    moved["ciphertextMetadata"] = json!(base64([&aad[11..], &metadata].concat()));
    decrypt(&host, &moved, Some(&aad[..11])).refused(400, "InvalidCiphertextException");
}

#[test]
fn o4_the_cdiv_is_the_specifications_hash() {
    let host = setup().start();
    for aad in [&b""[..], b"project=nile,department=marketing"] {
        let encrypted = encrypt(&host, (!aad.is_empty()).then_some(aad), true);
        assert_eq!(unbase64(&encrypted["ciphertextDataIntegrityValue"]), cdiv(&encrypted, aad));
        decrypt(&host, &encrypted, Some(aad)).ok();
    }
    let mut body = encrypt_body("attack at dawn");
    body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
    if let Some(reply) = host.curl("/keys/demo/encrypt", body, &[]) {
        let encrypted = reply.ok();
        assert_eq!(unbase64(&encrypted["ciphertextDataIntegrityValue"]), cdiv(&encrypted, b""));
    }
}

#[test]
fn o4_another_cdiv_algorithm_is_refused() {
    let host = setup().start();
    let mut body = encrypt_body("attack at dawn");
    body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_512");
    host.client().call(Operation::Encrypt, "demo", body).refused(400, "ValidationException");
}

#[test]
fn o5_every_altered_byte_is_an_invalid_ciphertext() {
    let host = setup().start();
    let encrypted = encrypt(&host, None, false);
    for field in ["ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"] {
        let bytes = unbase64(&encrypted[field]);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x80;
            let mut altered = encrypted.clone();
            altered[field] = json!(base64(bytes));
            decrypt(&host, &altered, None).refused(400, "InvalidCiphertextException");
        }
    }
    let mut altered = encrypted.clone();
    altered["ciphertext"] = json!(base64(&unbase64(&encrypted["ciphertext"])[1..]));
    decrypt(&host, &altered, None).refused(400, "InvalidCiphertextException");
    altered = encrypted.clone();
    altered.as_object_mut().unwrap().remove("ciphertextMetadata");
    decrypt(&host, &altered, None).refused(400, "InvalidCiphertextException");
    if let Some(reply) = host.curl("/keys/demo/decrypt", decrypt_body(&altered), &[]) {
        reply.refused(400, "InvalidCiphertextException");
    }
}

#[test]
fn o5_another_keys_ciphertext_is_invalid() {
    let host = setup().key("other", "encrypt,decrypt").start();
    let encrypted = encrypt(&host, None, false);
    let reply = host.client().call(Operation::Decrypt, "other", decrypt_body(&encrypted));
    reply.refused(400, "InvalidCiphertextException");
}

#[test]
fn o5_what_older_versions_of_a_key_encrypted_decrypts() {
    if crate::differs("a change of the folder shows after spin-env and a restart") {
        return;
    }
    let host = setup().start();
    let old = encrypt(&host, None, false);
    host.holdfast(&["key", "rotate", "demo"]);
    let version = |encrypted: &Value| unbase64(&encrypted["ciphertextMetadata"])[1..5].to_vec();
    let new = holdfast_tests::wait_for("the new version", || {
        let new = encrypt(&host, None, false);
        (version(&new) != version(&old)).then_some(new)
    });
    for encrypted in [old, new] {
        assert_eq!(unbase64(&decrypt(&host, &encrypted, None).ok()["plaintext"]), b"attack at dawn");
    }
}

#[test]
fn o4_a_cdiv_needs_a_key_that_may_decrypt() {
    let host = setup().all_keys().start();
    let mut body = encrypt_body("attack at dawn");
    body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
    let reply = host.client().call(Operation::Encrypt, "encrypt-only", body);
    reply.refused(400, "InvalidKeyUsageException");
}
