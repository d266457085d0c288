//! The JSON file that the KMS console takes (spec: "XKS proxy configuration in AWS KMS console").

use holdfast_keystore::{AccessKeyId, SecretAccessKey};
use holdfast_secret::Secret;

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
