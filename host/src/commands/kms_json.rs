//! The JSON file that the KMS console takes (spec: "XKS proxy configuration in AWS KMS console").

use holdfast_keystore::{AccessKeyId, NameError, SecretAccessKey};
use holdfast_secret::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::UriPathPrefix;

/// The whole file, with an end of line. None of the values has a character that JSON escapes.
pub fn kms_json(prefix: &UriPathPrefix, id: &AccessKeyId, secret: &SecretAccessKey) -> Secret {
    let head = format!(
        "{{\n  \"XksProxyUriPath\": \"{}\",\n  \"XksProxyAuthenticationCredential\": {{\n    \
         \"AccessKeyId\": \"{id}\",\n    \"RawSecretAccessKey\": \"",
        prefix.xks_proxy_uri_path()
    );
    let parts = [head.as_bytes(), secret.expose(), b"\"\n  }\n}\n"];
    Secret::with_len(parts.iter().map(|part| part.len()).sum(), |buffer| {
        let mut rest = buffer;
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
    })
}

/// Why a file isn't one for the KMS console. Repeats nothing of it but a position: it has a secret.
#[derive(Debug, thiserror::Error)]
pub enum KmsJsonError {
    /// Another form.
    #[error(
        "line {line}, column {column}: {reason}; what the KMS console takes is needed: XksProxyUriPath and XksProxyAuthenticationCredential with AccessKeyId and RawSecretAccessKey"
    )]
    Form {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// In general words.
        reason: &'static str,
    },
    /// A value that KMS wouldn't take.
    #[error("AccessKeyId or RawSecretAccessKey: {0}")]
    Value(#[from] NameError),
}

/// Its credential, and the path that it is for.
pub fn read(json: &[u8]) -> Result<(String, AccessKeyId, SecretAccessKey), KmsJsonError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct File {
        xks_proxy_uri_path: String,
        xks_proxy_authentication_credential: Pair,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pair {
        access_key_id: String,
        raw_secret_access_key: String,
    }
    let file: File = serde_json::from_slice(json).map_err(|error| KmsJsonError::Form {
        line: error.line(),
        column: error.column(),
        // serde's own words may repeat a value.
        reason: match error.classify() {
            serde_json::error::Category::Data => "a field is missing or no text",
            serde_json::error::Category::Eof => "it ends too early",
            _ => "it isn't JSON",
        },
    })?;
    let pair = file.xks_proxy_authentication_credential;
    let secret = Zeroizing::new(pair.raw_secret_access_key);
    Ok((file.xks_proxy_uri_path, pair.access_key_id.parse()?, SecretAccessKey::parse(secret.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k1_the_file_is_what_the_kms_console_takes() {
        let id: AccessKeyId = "ABCDEFGHIJKLMNOPQRST".parse().unwrap();
        let secret = SecretAccessKey::parse("a/+=".repeat(11).as_bytes()).unwrap();
        let json = kms_json(&"/demo".parse().unwrap(), &id, &secret);
        let value: serde_json::Value = serde_json::from_slice(json.expose()).unwrap();
        let expected = serde_json::json!({
            "XksProxyUriPath": "/demo/kms/xks/v1",
            "XksProxyAuthenticationCredential": {
                "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
                "RawSecretAccessKey": "a/+=".repeat(11),
            },
        });
        assert_eq!(value, expected);
    }
}
