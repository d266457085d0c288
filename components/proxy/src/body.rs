//! The inputs of Encrypt and Decrypt, read out of the signed body.
//!
//! The gate has read the same bytes and refuses inputs that differ from its own reading.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::{ErrorName, Refusal};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptBody<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    encryption_algorithm: Algorithm,
    #[serde(borrow)]
    additional_authenticated_data: Option<Cow<'a, str>>,
    ciphertext_data_integrity_value_algorithm: Option<Hash>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecryptBody<'a> {
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
    encryption_algorithm: Algorithm,
    #[serde(borrow)]
    additional_authenticated_data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ciphertext_metadata: Option<Cow<'a, str>>,
    #[serde(borrow)]
    initialization_vector: Cow<'a, str>,
    #[serde(borrow)]
    authentication_tag: Cow<'a, str>,
}

#[derive(Deserialize)]
enum Algorithm {
    #[serde(rename = "AES_GCM")]
    AesGcm,
}

#[derive(Deserialize)]
enum Hash {
    #[serde(rename = "SHA_256")]
    Sha256,
}

/// The inputs of Encrypt.
pub fn encrypt_inputs(text: &str) -> Result<EncryptInputs, Refusal> {
    let body: EncryptBody<'_> = read(text)?;
    let Algorithm::AesGcm = body.encryption_algorithm;
    Ok(EncryptInputs {
        plaintext: bytes("plaintext", &body.plaintext)?.into(),
        aad: optional("additionalAuthenticatedData", body.additional_authenticated_data.as_deref())?,
        with_cdiv: matches!(body.ciphertext_data_integrity_value_algorithm, Some(Hash::Sha256)),
    })
}

/// The inputs of Decrypt.
pub fn decrypt_inputs(text: &str) -> Result<DecryptInputs, Refusal> {
    let body: DecryptBody<'_> = read(text)?;
    let Algorithm::AesGcm = body.encryption_algorithm;
    Ok(DecryptInputs {
        ciphertext: bytes("ciphertext", &body.ciphertext)?,
        iv: bytes("initializationVector", &body.initialization_vector)?,
        tag: bytes("authenticationTag", &body.authentication_tag)?,
        aad: optional("additionalAuthenticatedData", body.additional_authenticated_data.as_deref())?,
        metadata: optional("ciphertextMetadata", body.ciphertext_metadata.as_deref())?,
    })
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    // serde_json's message can repeat the input, which may be plaintext: only the place is told.
    serde_json::from_str(text).map_err(|e| {
        let place = format!("the body is not as the API wants it (line {}, column {})", e.line(), e.column());
        Refusal::with(ErrorName::Validation, place)
    })
}

fn optional(name: &str, text: Option<&str>) -> Result<Vec<u8>, Refusal> {
    text.map_or(Ok(Vec::new()), |text| bytes(name, text))
}

fn bytes(name: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD
        .decode(text)
        .map_err(|_| Refusal::with(ErrorName::Validation, format!("{name} must be padded standard base64")))
}
