//! AWS Signature Version 4 for XKS requests (spec: appendix A), by AWS's own crate.

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};

use crate::credential::Credential;

/// The service in the credential scope.
pub const SERVICE: &str = "kms-xks-proxy";

/// Signs requests with one credential for one region.
#[derive(Clone)]
pub struct Signer {
    credentials: Credentials,
    region: String,
}

/// Why a request can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The region isn't fit for a credential scope.
    #[error("{region:?} is no region; one is made of letters, digits and '-', such as eu-central-1")]
    Region {
        /// As given.
        region: String,
    },
    /// aws-sigv4 refuses the request.
    #[error("the request can't be signed: {0}")]
    Request(String),
}

impl Signer {
    /// A signer for requests as `region`'s KMS sends them.
    pub fn new(credential: &Credential, region: &str) -> Result<Self, SignError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if region.is_empty() || region.len() > 64 || !region.bytes().all(allowed) {
            return Err(SignError::Region { region: region.to_owned() });
        }
        let credentials = Credentials::from_keys(credential.access_key_id(), credential.secret(), None);
        Ok(Self { credentials, region: region.to_owned() })
    }

    /// The region in the credential scope.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Adds `x-amz-date` and `authorization`. Signed are `host`, `x-amz-date` and `content-type`; `host` must be there.
    pub fn sign(&self, request: &mut http::Request<Bytes>, now: SystemTime) -> Result<(), SignError> {
        let failed = |error: &dyn fmt::Display| SignError::Request(error.to_string());
        let identity = self.credentials.clone().into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(now)
            .settings(settings())
            .build()
            .map_err(|error| failed(&error))?
            .into();

        let text = |name| -> Result<&str, SignError> {
            let value = request.headers().get(&name).map(HeaderValue::to_str);
            value.and_then(Result::ok).ok_or_else(|| failed(&format_args!("no header {name}")))
        };
        let signed = [("host", text(HOST)?), ("content-type", text(CONTENT_TYPE)?)];
        let uri = request.uri().to_string();
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), uri, signed.into_iter(), body)
            .map_err(|error| failed(&error))?;
        let (instructions, _signature) =
            sign(signable, &params).map_err(|error| failed(&error))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.credentials.access_key_id())
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The path is signed as it travels: XKS paths have nothing to encode or to resolve.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    settings.session_token_mode = SessionTokenMode::Include;
    settings
}
