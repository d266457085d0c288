//! The credential that signs, and the JSON file that the KMS console takes.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// An access key id and its secret. The secret is wiped on drop and never printed.
#[derive(Clone)]
pub struct Credential {
    access_key_id: String,
    secret: Zeroizing<String>,
}

/// Why a credential can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The access key id can't stand in a credential scope.
    #[error("the access key id must be 1 to 128 letters or digits; an XKS one has 20 to 30 of A-Z and 2-7")]
    AccessKeyId,
    /// The secret is empty or not printable.
    #[error(
        "the secret access key must be printable ASCII without spaces; an XKS one has 43 to 64 characters"
    )]
    Secret,
    /// The file isn't the JSON that `holdfast kms-config` prints.
    #[error(
        "not a key store configuration: {reason} at line {line}, column {column}; \
         wanted {{\"XksProxyUriPath\", \"XksProxyAuthenticationCredential\": \
         {{\"AccessKeyId\", \"RawSecretAccessKey\"}}}}"
    )]
    Json {
        /// What is wrong, without any value of the file.
        reason: &'static str,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

impl Credential {
    /// Takes any id and secret that can be signed with; whether they are of the XKS grammar is the server's to say.
    pub fn new(access_key_id: &str, secret: Zeroizing<String>) -> Result<Self, CredentialError> {
        if !(1..=128).contains(&access_key_id.len())
            || !access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(CredentialError::AccessKeyId);
        }
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Secret);
        }
        Ok(Self { access_key_id: access_key_id.to_owned(), secret })
    }

    /// The public half.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The configuration file for the KMS console (spec: "XKS proxy configuration in AWS KMS console").
#[derive(Debug, Clone)]
pub struct KmsConfig {
    /// `[/prefix]/kms/xks/v1`.
    pub uri_path: String,
    /// What KMS signs with.
    pub credential: Credential,
}

impl KmsConfig {
    /// Reads the JSON file's content. Errors repeat nothing of it but a position.
    pub fn from_json(json: &[u8]) -> Result<Self, CredentialError> {
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
        let file: File = serde_json::from_slice(json).map_err(|error| CredentialError::Json {
            // The parser's own message may quote a value, which may be the secret.
            reason: match error.classify() {
                serde_json::error::Category::Data => "a field is missing or no text",
                serde_json::error::Category::Eof => "it ends too early",
                _ => "it isn't JSON",
            },
            line: error.line(),
            column: error.column(),
        })?;
        let pair = file.xks_proxy_authentication_credential;
        Ok(Self {
            uri_path: file.xks_proxy_uri_path,
            credential: Credential::new(&pair.access_key_id, Zeroizing::new(pair.raw_secret_access_key))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "NotARealSecretButLongEnoughToLookLikeOne1234";

    #[test]
    fn the_kms_console_file_is_read_and_its_secret_is_not_printed() {
        let json = format!(
            r#"{{"XksProxyUriPath":"/a/kms/xks/v1","XksProxyAuthenticationCredential":
                {{"AccessKeyId":"ABCDEFGHIJKLMNOPQRST","RawSecretAccessKey":"{SECRET}"}}}}"#
        );
        let config = KmsConfig::from_json(json.as_bytes()).unwrap();
        assert_eq!(config.uri_path, "/a/kms/xks/v1");
        assert_eq!(config.credential.access_key_id(), "ABCDEFGHIJKLMNOPQRST");
        assert_eq!(config.credential.secret(), SECRET);
        assert!(!format!("{config:?}").contains(SECRET));
    }

    #[test]
    fn an_error_about_the_file_repeats_no_value_of_it() {
        let json = format!(r#"{{"XksProxyUriPath":"/a","XksProxyAuthenticationCredential":"{SECRET}"}}"#);
        let message = KmsConfig::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("line 1, column"), "{message}");
        assert!(!message.contains(SECRET), "{message}");
    }
}
