//! Bodies of requests as AWS KMS sends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Standard, padded Base64.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a Base64 text in an answer.
#[track_caller]
pub fn unbase64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_else(|| panic!("no text: {value}"))).unwrap()
}

/// A new `kmsRequestId`.
pub fn request_id() -> String {
    holdfast_client::new_request_id().unwrap()
}

/// All of requestMetadata, with a new request id.
pub fn request_metadata(kms_operation: &str) -> Value {
    json!({
        "awsPrincipalArn": "arn:aws:iam::123456789012:user/Alice",
        "awsSourceVpc": "vpc-0123456789abcdef0",
        "awsSourceVpce": "vpce-0123456789abcdef0",
        "kmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "kmsOperation": kms_operation,
        "kmsRequestId": request_id(),
        "kmsViaService": "ebs",
    })
}

/// Of health and metadata requests.
pub fn metadata_body(kms_operation: &str) -> Value {
    json!({ "requestMetadata": request_metadata(kms_operation) })
}

/// Of an encrypt request, without AAD and CDIV.
pub fn encrypt_body(plaintext: impl AsRef<[u8]>) -> Value {
    json!({
        "requestMetadata": request_metadata("Encrypt"),
        "plaintext": base64(plaintext),
        "encryptionAlgorithm": "AES_GCM",
    })
}

/// Of the decrypt request for the answer to an encrypt request without AAD.
pub fn decrypt_body(encrypted: &Value) -> Value {
    let mut body = json!({
        "requestMetadata": request_metadata("Decrypt"),
        "encryptionAlgorithm": "AES_GCM",
    });
    for field in ["ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"] {
        if let Some(value) = encrypted.get(field) {
            body[field] = value.clone();
        }
    }
    body
}
