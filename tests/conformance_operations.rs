//! Checklist, "Operations": what the four APIs do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use holdfast_tests::{Operation, Setup, decrypt_body, encrypt_body, unbase64};

#[test]
fn o2_what_is_encrypted_decrypts() {
    let host = Setup::new().start();
    let encrypted = host.client().call(Operation::Encrypt, "demo", encrypt_body("attack at dawn")).ok();
    let decrypted = host.curl("/keys/demo/decrypt", decrypt_body(&encrypted), &[]);
    if let Some(decrypted) = decrypted {
        assert_eq!(unbase64(&decrypted.ok()["plaintext"]), b"attack at dawn");
    }
}
