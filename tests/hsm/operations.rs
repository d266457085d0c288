//! Checklist O1 to O9 on each token, in a worker process and in threads.

use holdfast_test_tokens::{Crash, When};
use holdfast_tests::{Operation, decrypt_body, encrypt_body, metadata_body, unbase64, wait_for};
use serde_json::json;

use crate::rig::{ISOLATIONS, KINDS, Rig, TEXT};

/// A host on one HSM of each kind, in both ways.
fn each(test: impl Fn(Rig)) {
    for kind in KINDS {
        for isolation in ISOLATIONS {
            let Some(rig) = Rig::start(kind, &["only"], isolation) else { continue };
            println!("{kind:?}, {isolation}");
            test(rig);
        }
    }
}

#[test]
fn o1_o2_o3_o4_o5_o6_the_operations_work_on_each_token_in_a_process_and_in_threads() {
    each(|rig| {
        let mut client = rig.host.client();
        for (key, usage, status) in [
            ("demo", json!(["ENCRYPT", "DECRYPT"]), "ENABLED"),
            ("encrypt-only", json!(["ENCRYPT"]), "ENABLED"),
            ("decrypt-only", json!(["DECRYPT"]), "ENABLED"),
            ("impotent", json!([]), "ENABLED"),
            ("disabled", json!(["ENCRYPT", "DECRYPT"]), "DISABLED"),
        ] {
            let wanted = json!({ "keySpec": "AES_256", "keyUsage": usage, "keyStatus": status });
            let metadata = client.call(Operation::Metadata, key, metadata_body("DescribeKey")).ok();
            assert_eq!(metadata, wanted, "{key}");
        }

        for length in [1, 16, 32, 4300] {
            let mut body = encrypt_body(vec![7; length]);
            body["additionalAuthenticatedData"] = json!(holdfast_tests::base64(vec![9; 8192]));
            body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
            let made = client.call(Operation::Encrypt, "demo", body.clone()).ok();
            let size = |field: &str| unbase64(&made[field]).len();
            assert_eq!((size("ciphertext"), size("authenticationTag")), (length, 16));
            assert!(matches!(size("initializationVector"), 12 | 16) && size("ciphertextMetadata") <= 20);
            assert_eq!(size("ciphertextDataIntegrityValue"), 32);
            let mut back = decrypt_body(&made);
            back["additionalAuthenticatedData"] = body["additionalAuthenticatedData"].clone();
            let opened = client.call(Operation::Decrypt, "demo", back).ok();
            assert_eq!(unbase64(&opened["plaintext"]), vec![7; length]);
        }

        let made = client.call(Operation::Encrypt, "demo", encrypt_body(TEXT)).ok();
        let other = client.call(Operation::Encrypt, "demo", encrypt_body(TEXT)).ok();
        assert_ne!(made["initializationVector"], other["initializationVector"]);
        for field in ["ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"] {
            let mut altered = decrypt_body(&made);
            let mut bytes = unbase64(&altered[field]);
            *bytes.last_mut().unwrap() ^= 1;
            altered[field] = json!(holdfast_tests::base64(bytes));
            client.call(Operation::Decrypt, "demo", altered).refused(400, "InvalidCiphertextException");
        }
        let mut with_aad = decrypt_body(&made);
        with_aad["additionalAuthenticatedData"] = json!("AAAA");
        client.call(Operation::Decrypt, "demo", with_aad).refused(400, "InvalidCiphertextException");

        for (key, error, status) in [
            ("unknown", "KeyNotFoundException", 404),
            ("holdfast-health", "KeyNotFoundException", 404),
            ("decrypt-only", "InvalidKeyUsageException", 400),
            ("impotent", "InvalidKeyUsageException", 400),
            ("disabled", "InvalidStateException", 400),
        ] {
            client.call(Operation::Encrypt, key, encrypt_body(TEXT)).refused(status, error);
        }
        for (key, error) in
            [("encrypt-only", "InvalidKeyUsageException"), ("disabled", "InvalidStateException")]
        {
            client.call(Operation::Decrypt, key, decrypt_body(&made)).refused(400, error);
        }
        let mut verified = encrypt_body(TEXT);
        verified["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
        client.call(Operation::Encrypt, "encrypt-only", verified).refused(400, "InvalidKeyUsageException");
    });
}

#[test]
fn o3_what_an_hsm_encrypts_is_the_specifications_form() {
    use cryptoki::mechanism::Mechanism;
    use cryptoki::mechanism::aead::GcmParams;
    for kind in KINDS {
        let Some(rig) = Rig::start(kind, &["form"], "process") else { continue };
        let mut body = encrypt_body(TEXT);
        body["additionalAuthenticatedData"] = json!(holdfast_tests::base64("context"));
        let made = rig.host.client().call(Operation::Encrypt, "demo", body).ok();
        // Decrypted by the token itself, without the host: len16(AAD) || AAD || len8(metadata) || metadata.
        let metadata = unbase64(&made["ciphertextMetadata"]);
        let aad =
            [&[0, 7], b"context".as_slice(), &[u8::try_from(metadata.len()).unwrap()], &metadata].concat();
        let token = &rig.parts[0].token;
        let session = token.session();
        let key = holdfast_test_tokens::keys(&session, "demo")[0];
        let mut iv = unbase64(&made["initializationVector"]);
        let sealed = [unbase64(&made["ciphertext"]), unbase64(&made["authenticationTag"])].concat();
        let parameters = GcmParams::new(&mut iv, &aad, 128.into()).unwrap();
        assert_eq!(session.decrypt(&Mechanism::AesGcm(parameters), key, &sealed).unwrap(), TEXT);
    }
}

#[test]
fn o8_health_tells_model_firmware_and_serial_of_each_hsm() {
    each(|rig| {
        let health = rig.host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
        let hsm = &health["ekmFleetDetails"][0];
        let said = format!("{} {}", hsm["id"].as_str().unwrap(), hsm["model"].as_str().unwrap());
        assert!(said.contains(rig.parts[0].token.serial().trim()) && said.contains("only"), "{said}");
        assert!(!hsm["model"].as_str().unwrap().contains("not connected"), "{said}");
    });
}

#[test]
fn o9_a_key_manager_that_breaks_while_the_host_runs_is_not_active() {
    for isolation in ISOLATIONS {
        let Some(rig) = Rig::start(KINDS[0], &["breaks"], isolation) else { return };
        // Every session opens and every key is listed; only encrypting fails, and no request tells of it.
        let rule = rig.faults().fail("C_Encrypt", "CKR_FUNCTION_FAILED", When::Always);
        wait_for("UNAVAILABLE", || (rig.health() == ["UNAVAILABLE"]).then_some(()));
        wait_for("a /ping that fails", || (rig.ping() == 503).then_some(()));
        rig.faults().lift(rule);
        rig.until_active();
        rig.encrypt().ok();
    }
}

#[test]
fn a_module_that_crashes_in_a_worker_process_leaves_the_host_running() {
    let Some(mut rig) = Rig::start(KINDS[0], &["crashes"], "process") else { return };
    let made = rig.encrypt().ok();
    for how in [Crash::Segfault, Crash::Abort] {
        let rule = rig.faults().crash("C_EncryptInit", how, When::Next(1));
        wait_for("the crash", || {
            let reply = rig.encrypt();
            assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
            (rig.faults().hits(rule) == 1).then_some(())
        });
        rig.until_active();
        rig.encrypt().ok();
        rig.assert_decrypts(&made);
        rig.host.assert_running();
    }
}
