//! The requests and answers of the XKS proxy API, version 1.0.3.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// One of the four APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// GetHealthStatus.
    Health,
    /// GetKeyMetadata.
    Metadata,
    /// Encrypt.
    Encrypt,
    /// Decrypt.
    Decrypt,
}

impl Operation {
    /// What follows the URI path, such as `/keys/demo/encrypt`. Health takes no key.
    pub fn path(self, key: &str) -> String {
        match self {
            Self::Health => "/health".to_owned(),
            Self::Metadata => format!("/keys/{key}/metadata"),
            Self::Encrypt => format!("/keys/{key}/encrypt"),
            Self::Decrypt => format!("/keys/{key}/decrypt"),
        }
    }

    /// The `kmsOperation` that KMS usually sends with it.
    pub fn usual_kms_operation(self) -> &'static str {
        match self {
            Self::Health => "KmsHealthCheck",
            Self::Metadata => "CreateKey",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        })
    }
}

/// Bytes that travel as Base64 (standard alphabet, padded). `Debug` gives the length only: it may be a plaintext.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    /// The text as sent.
    pub fn text(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Base64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("padded standard Base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
                STANDARD.decode(text).map(Base64).map_err(|_| E::custom("no padded standard Base64"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Who asks KMS for what (spec: appendix B). Absent fields aren't sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMetadata {
    /// ARN, service principal or `AWS Internal`. Required but for health.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aws_principal_arn: Option<String>,
    /// Only with a VPC endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aws_source_vpc: Option<String>,
    /// Only with a VPC endpoint.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aws_source_vpce: Option<String>,
    /// Required for encrypt and decrypt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kms_key_arn: Option<String>,
    /// The KMS API that led to the request.
    pub kms_operation: String,
    /// Opaque; see [`crate::new_request_id`].
    pub kms_request_id: String,
    /// Such as `ebs`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kms_via_service: Option<String>,
}

/// The body of health and metadata requests.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOnly {
    /// Who asks.
    pub request_metadata: RequestMetadata,
}

/// The body of an encrypt request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Encrypt {
    /// Who asks.
    pub request_metadata: RequestMetadata,
    /// Absent or authenticated with the ciphertext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_authenticated_data: Option<Base64>,
    /// What to encrypt.
    pub plaintext: Base64,
    /// `AES_GCM`.
    pub encryption_algorithm: &'static str,
    /// `SHA_256` where a CDIV is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ciphertext_data_integrity_value_algorithm: Option<&'static str>,
}

impl Encrypt {
    /// A request for AES-GCM.
    pub fn new(metadata: RequestMetadata, plaintext: Vec<u8>, aad: Option<Vec<u8>>, with_cdiv: bool) -> Self {
        Self {
            request_metadata: metadata,
            additional_authenticated_data: aad.map(Base64),
            plaintext: Base64(plaintext),
            encryption_algorithm: "AES_GCM",
            ciphertext_data_integrity_value_algorithm: with_cdiv.then_some("SHA_256"),
        }
    }
}

/// The body of a decrypt request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decrypt {
    /// Who asks.
    pub request_metadata: RequestMetadata,
    /// As given to encrypt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_authenticated_data: Option<Base64>,
    /// What to decrypt, with IV, tag and metadata.
    #[serde(flatten)]
    pub sealed: Sealed,
    /// `AES_GCM`.
    pub encryption_algorithm: &'static str,
}

impl Decrypt {
    /// A request for AES-GCM.
    pub fn new(metadata: RequestMetadata, sealed: Sealed, aad: Option<Vec<u8>>) -> Self {
        Self {
            request_metadata: metadata,
            additional_authenticated_data: aad.map(Base64),
            sealed,
            encryption_algorithm: "AES_GCM",
        }
    }
}

/// What AES-GCM makes of a plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// As long as the plaintext.
    pub ciphertext: Base64,
    /// At most 20 bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ciphertext_metadata: Option<Base64>,
    /// 12 or 16 bytes.
    pub initialization_vector: Base64,
    /// 16 bytes.
    pub authentication_tag: Base64,
}

/// The answer to encrypt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encrypted {
    /// What to keep.
    #[serde(flatten)]
    pub sealed: Sealed,
    /// The CDIV, where asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ciphertext_data_integrity_value: Option<Base64>,
}

impl Encrypted {
    /// Checks sizes and the CDIV as KMS does (spec: appendix C).
    pub fn check(&self, plaintext_len: usize, aad: &[u8], with_cdiv: bool) -> Result<(), Mismatch> {
        let sealed = &self.sealed;
        let metadata = sealed.ciphertext_metadata.as_ref().map_or(&[][..], |metadata| &metadata.0);
        if sealed.ciphertext.0.len() != plaintext_len {
            return Err(Mismatch("the ciphertext is not as long as the plaintext"));
        }
        if !matches!(sealed.initialization_vector.0.len(), 12 | 16) {
            return Err(Mismatch("the initializationVector has neither 12 nor 16 bytes"));
        }
        if sealed.authentication_tag.0.len() != 16 {
            return Err(Mismatch("the authenticationTag hasn't 16 bytes"));
        }
        if metadata.len() > 20 {
            return Err(Mismatch("the ciphertextMetadata has more than 20 bytes"));
        }
        match &self.ciphertext_data_integrity_value {
            Some(_) if !with_cdiv => Err(Mismatch("a CDIV that wasn't asked for")),
            None if with_cdiv => Err(Mismatch("no CDIV, though asked for")),
            None => Ok(()),
            Some(cdiv) => {
                let hash = Sha256::new()
                    .chain_update(aad)
                    .chain_update(metadata)
                    .chain_update(&sealed.initialization_vector.0)
                    .chain_update(&sealed.ciphertext.0)
                    .chain_update(&sealed.authentication_tag.0)
                    .finalize();
                if cdiv.0 == hash.as_slice() { Ok(()) } else { Err(Mismatch("the CDIV is wrong")) }
            }
        }
    }
}

/// What a successful answer has wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub &'static str);

/// The answer to decrypt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Base64,
}

/// The answer to GetKeyMetadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyMetadata {
    /// `AES_256`.
    pub key_spec: String,
    /// At most ten.
    pub key_usage: Vec<String>,
    /// `ENABLED` or `DISABLED`.
    pub key_status: String,
}

/// The answer to GetHealthStatus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// At least 1.
    pub xks_proxy_fleet_size: u64,
    /// Who made the proxy.
    pub xks_proxy_vendor: String,
    /// Which proxy, with its version.
    pub xks_proxy_model: String,
    /// Who made the key managers.
    pub ekm_vendor: String,
    /// One to ten.
    pub ekm_fleet_details: Vec<KeyManager>,
}

/// One external key manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyManager {
    /// Its name.
    pub id: String,
    /// Its model.
    pub model: String,
    /// `ACTIVE`, `DEGRADED` or `UNAVAILABLE`.
    pub health_status: String,
}

/// The body of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Such as `AccessDeniedException`.
    pub error_name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the specification (Encrypt and appendix C).
    const EXAMPLE: &str = r#"{"authenticationTag":"vBxN2ncH1oEkR8WVXpmyYQ==","ciphertext":"ghxkK1txeDNn3q8Y",
        "ciphertextDataIntegrityValue":"qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=",
        "ciphertextMetadata":"a2V5X3ZlcnNpb249MQ==","initializationVector":"HMrlRw85cAJUd5Ax"}"#;

    #[test]
    fn the_specifications_worked_cdiv_is_accepted_and_a_changed_one_is_not() {
        let mut answer: Encrypted = serde_json::from_str(EXAMPLE).unwrap();
        let aad = b"project=nile,department=marketing";
        assert_eq!(answer.check(12, aad, true), Ok(()));
        assert_eq!(answer.check(12, b"project=nile", true), Err(Mismatch("the CDIV is wrong")));
        assert_eq!(
            answer.check(13, aad, true),
            Err(Mismatch("the ciphertext is not as long as the plaintext"))
        );
        answer.ciphertext_data_integrity_value = None;
        assert!(answer.check(12, aad, true).is_err());
        assert_eq!(answer.check(12, aad, false), Ok(()));
    }

    #[test]
    fn absent_fields_are_not_sent() {
        let metadata = RequestMetadata {
            kms_operation: "KmsHealthCheck".into(),
            kms_request_id: "1".into(),
            ..Default::default()
        };
        assert_eq!(
            serde_json::to_string(&MetadataOnly { request_metadata: metadata }).unwrap(),
            r#"{"requestMetadata":{"kmsOperation":"KmsHealthCheck","kmsRequestId":"1"}}"#
        );
    }

    #[test]
    fn a_plaintext_is_not_printed() {
        let answer = Decrypted { plaintext: Base64(b"attack at dawn".to_vec()) };
        assert_eq!(format!("{answer:?}"), "Decrypted { plaintext: 14 bytes }");
    }
}
