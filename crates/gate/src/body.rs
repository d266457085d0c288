//! The strict reading of a signed body: what it says of the request, and the inputs of the operation.
//!
//! It is made once, natively, from the bytes that the signature covers. Policy sees its metadata, the key its inputs;
//! what the proxy component reads for itself must agree or is refused.

use crate::aead::{AAD_LIMIT, METADATA_LIMIT};
use crate::error::{ErrorName, Refusal};
use crate::query::Operation;
use crate::strict::{self, Object, Value};
use crate::target::Call;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// requestMetadata, as received (spec, Appendix B).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMetadata {
    /// `awsPrincipalArn`; required but for GetHealthStatus.
    pub principal: Option<String>,
    /// `awsSourceVpc`.
    pub source_vpc: Option<String>,
    /// `awsSourceVpce`.
    pub source_vpce: Option<String>,
    /// `kmsKeyArn`; required for Encrypt and Decrypt.
    pub kms_key: Option<String>,
    /// `kmsOperation`.
    pub kms_operation: String,
    /// `kmsRequestId`.
    pub kms_request_id: String,
    /// `kmsViaService`.
    pub via_service: Option<String>,
    /// Every other member: a string's text, any other value as JSON.
    pub other: Vec<(String, String)>,
}

/// The inputs of the operation.
pub enum Inputs {
    /// GetHealthStatus and GetKeyMetadata.
    None,
    /// Encrypt.
    Encrypt(EncryptInputs),
    /// Decrypt.
    Decrypt(DecryptInputs),
}

/// The inputs of Encrypt.
#[derive(PartialEq)]
pub struct EncryptInputs {
    /// The data key or other data to encrypt.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Empty where absent.
    pub aad: Vec<u8>,
    /// Whether the CDIV is asked for.
    pub with_cdiv: bool,
}

/// The inputs of Decrypt.
#[derive(PartialEq)]
pub struct DecryptInputs {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// 12 or 16 bytes.
    pub iv: Vec<u8>,
    /// 16 bytes.
    pub tag: Vec<u8>,
    /// Empty where absent.
    pub aad: Vec<u8>,
    /// At most 20 bytes; empty where absent.
    pub metadata: Vec<u8>,
}

/// A signed body, read for one call.
pub struct Body {
    /// What KMS says of the request.
    pub metadata: RequestMetadata,
    /// What to work on, or why it can't be.
    pub inputs: Result<Inputs, Refusal>,
}

impl Body {
    /// Reads `bytes` as the body of `call`. Refuses with ValidationException what the specification doesn't allow, and
    /// with UnsupportedOperationException what it allows and nobody takes. When it is only the inputs that are refused,
    /// what KMS says of the request is known all the same.
    pub fn read(bytes: &[u8], call: Call<'_>) -> Result<Body, Refusal> {
        let object =
            strict::object(bytes).map_err(|fault| Refusal::with(ErrorName::Validation, fault.to_string()))?;
        let metadata = metadata(&object, call)?;
        let inputs = match call {
            Call::Health | Call::Key { operation: Operation::GetKeyMetadata, .. } => Ok(Inputs::None),
            Call::Key { operation: Operation::Encrypt, .. } => encrypt_inputs(&object).map(Inputs::Encrypt),
            Call::Key { operation: Operation::Decrypt, .. } => decrypt_inputs(&object).map(Inputs::Decrypt),
        };
        Ok(Body { metadata, inputs })
    }
}

fn metadata(body: &Object<'_>, call: Call<'_>) -> Result<RequestMetadata, Refusal> {
    let object = match strict::get(body, "requestMetadata") {
        Some(Value::Object(members)) => members,
        Some(_) => return Err(invalid("requestMetadata must be an object")),
        None => return Err(invalid("requestMetadata is missing")),
    };
    let mut metadata = RequestMetadata::default();
    let (mut kms_operation, mut kms_request_id) = (None, None);
    for (name, value) in object {
        let known = match name.as_ref() {
            "awsPrincipalArn" => &mut metadata.principal,
            "awsSourceVpc" => &mut metadata.source_vpc,
            "awsSourceVpce" => &mut metadata.source_vpce,
            "kmsKeyArn" => &mut metadata.kms_key,
            "kmsOperation" => &mut kms_operation,
            "kmsRequestId" => &mut kms_request_id,
            "kmsViaService" => &mut metadata.via_service,
            _ => {
                let text = value.as_text().map_or_else(|| value.to_json(), str::to_owned);
                metadata.other.push((name.to_string(), text));
                continue;
            }
        };
        match value {
            Value::Text(text) => *known = Some(text.to_string()),
            // An optional field that is null says the same as one that is absent.
            Value::Null => {}
            _ => return Err(invalid_with(format!("requestMetadata.{name} must be a string"))),
        }
    }
    metadata.kms_operation = required(kms_operation, "kmsOperation")?;
    metadata.kms_request_id = required(kms_request_id, "kmsRequestId")?;
    if let Call::Key { operation, .. } = call {
        if metadata.principal.is_none() {
            return Err(missing_metadata("awsPrincipalArn"));
        }
        if operation != Operation::GetKeyMetadata && metadata.kms_key.is_none() {
            return Err(missing_metadata("kmsKeyArn"));
        }
    }
    Ok(metadata)
}

fn required(value: Option<String>, name: &str) -> Result<String, Refusal> {
    value.ok_or_else(|| missing_metadata(name))
}

fn missing_metadata(name: &str) -> Refusal {
    invalid_with(format!("requestMetadata.{name} is missing"))
}

fn encrypt_inputs(body: &Object<'_>) -> Result<EncryptInputs, Refusal> {
    algorithm(body, "encryptionAlgorithm", "AES_GCM")?.ok_or_else(|| missing("encryptionAlgorithm"))?;
    let with_cdiv = algorithm(body, "ciphertextDataIntegrityValueAlgorithm", "SHA_256")?.is_some();
    let plaintext = bytes(body, "plaintext")?.ok_or_else(|| missing("plaintext"))?;
    Ok(EncryptInputs { plaintext: Zeroizing::new(plaintext), aad: aad(body)?, with_cdiv })
}

fn decrypt_inputs(body: &Object<'_>) -> Result<DecryptInputs, Refusal> {
    algorithm(body, "encryptionAlgorithm", "AES_GCM")?.ok_or_else(|| missing("encryptionAlgorithm"))?;
    let ciphertext = bytes(body, "ciphertext")?.ok_or_else(|| missing("ciphertext"))?;
    let iv = bytes(body, "initializationVector")?.ok_or_else(|| missing("initializationVector"))?;
    let tag = bytes(body, "authenticationTag")?.ok_or_else(|| missing("authenticationTag"))?;
    let metadata = bytes(body, "ciphertextMetadata")?.unwrap_or_default();
    if !matches!(iv.len(), 12 | 16) {
        return Err(invalid("initializationVector must be 12 or 16 bytes"));
    }
    if tag.len() != 16 {
        return Err(invalid("authenticationTag must be 16 bytes"));
    }
    if metadata.len() > METADATA_LIMIT {
        return Err(invalid("ciphertextMetadata must be at most 20 bytes"));
    }
    Ok(DecryptInputs { ciphertext, iv, tag, aad: aad(body)?, metadata })
}

fn aad(body: &Object<'_>) -> Result<Vec<u8>, Refusal> {
    let aad = bytes(body, "additionalAuthenticatedData")?.unwrap_or_default();
    if aad.len() > AAD_LIMIT {
        return Err(Refusal::new(
            ErrorName::UnsupportedOperation,
            "additionalAuthenticatedData is longer than 65535 bytes",
        ));
    }
    Ok(aad)
}

/// A field whose only value is `only`. Another one is an operation that this API version doesn't have.
fn algorithm(body: &Object<'_>, name: &str, only: &str) -> Result<Option<()>, Refusal> {
    match strict::get(body, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) if text == only => Ok(Some(())),
        Some(_) => Err(invalid_with(format!("{name} must be {only}"))),
    }
}

/// Base64 of the standard alphabet, padded, canonical (checklist O7).
fn bytes(body: &Object<'_>, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
    match strict::get(body, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => STANDARD
            .decode(text.as_bytes())
            .map(Some)
            .map_err(|_| invalid_with(format!("{name} must be padded standard base64"))),
        Some(_) => Err(invalid_with(format!("{name} must be a base64 string"))),
    }
}

fn missing(name: &str) -> Refusal {
    invalid_with(format!("{name} is missing"))
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(ErrorName::Validation, message)
}

fn invalid_with(message: String) -> Refusal {
    Refusal::with(ErrorName::Validation, message)
}

#[cfg(test)]
mod tests;
