//! AWS Signature Version 4, verified natively (checklist A1 to A3, A6; AWS "Signing AWS API requests").
//!
//! [`check_head`] makes the cheap checks before the body is read, and leaves a [`CheckedHead`], which only
//! [`CheckedHead::verify`] with the body's hash and the signing key turns into a verdict. The canonical request is
//! built from the bytes received; nothing of the claim is used but to look things up and to compare.

mod canonical;
mod date;
mod keys;
mod limits;

pub use canonical::Headers;
pub use date::{DATE_TIME_LENGTH, format_date_time, parse_date_time};
pub use keys::{SigningKey, SigningKeys};
pub use limits::{CLOCK_SKEW_LIMIT, SERVICE};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a request says of its own signature: a hint to look things up with, nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// 20 to 30 of `A-Z2-7`.
    pub access_key_id: String,
    /// Of the credential scope, `YYYYMMDD`.
    pub date: String,
    /// Of the credential scope.
    pub region: String,
    /// Of the credential scope.
    pub service: String,
    /// Lower-case names, sorted, joined by `;`.
    pub signed_headers: String,
    /// 64 lower-case hexadecimal digits.
    pub signature: String,
}

/// Why a request is not authentic. For logs and metrics; [`AuthenticationFault::message`] is what a client may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthenticationFault {
    /// No usable Authorization header.
    #[error("no usable authorization header")]
    Claim,
    /// A header that must be there once is missing or repeated.
    #[error("authorization, host and x-amz-date must each be present once")]
    HeaderCount,
    /// `x-amz-date` can't be read.
    #[error("x-amz-date must be YYYYMMDDTHHMMSSZ")]
    DateForm,
    /// More than 5 minutes off.
    #[error("x-amz-date is more than 5 minutes from this proxy's clock")]
    Skew,
    /// The credential scope's date isn't x-amz-date's.
    #[error("the credential scope's date differs from x-amz-date")]
    ScopeDate,
    /// Another region.
    #[error("the credential scope's region is not one of this key store")]
    Region,
    /// Another service.
    #[error("the credential scope's service must be kms-xks-proxy")]
    Service,
    /// Names unsorted, repeated, absent from the request, or host or x-amz-date not among them.
    #[error("signed headers must be sorted, unique, present once, and include host and x-amz-date")]
    SignedHeaders,
    /// No such credential in this key store.
    #[error("unknown access key id")]
    AccessKeyId,
    /// The signature differs.
    #[error("signature mismatch")]
    Signature,
}

impl AuthenticationFault {
    /// Every fault, for counters.
    pub const ALL: [AuthenticationFault; 10] = [
        AuthenticationFault::Claim,
        AuthenticationFault::HeaderCount,
        AuthenticationFault::DateForm,
        AuthenticationFault::Skew,
        AuthenticationFault::ScopeDate,
        AuthenticationFault::Region,
        AuthenticationFault::Service,
        AuthenticationFault::SignedHeaders,
        AuthenticationFault::AccessKeyId,
        AuthenticationFault::Signature,
    ];

    /// What the client is told. An unknown access key id and a wrong signature read the same.
    pub const fn message(self) -> &'static str {
        match self {
            AuthenticationFault::Claim => {
                "the Authorization header must be AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature"
            }
            AuthenticationFault::HeaderCount => {
                "the headers Authorization, Host and X-Amz-Date must each be present once"
            }
            AuthenticationFault::DateForm => "X-Amz-Date must have the form YYYYMMDDTHHMMSSZ",
            AuthenticationFault::Skew => {
                "X-Amz-Date is more than 5 minutes from this proxy's clock; check the clocks of both sides"
            }
            AuthenticationFault::ScopeDate => "the date in the credential scope must be that of X-Amz-Date",
            AuthenticationFault::Region => {
                "the region in the credential scope is not allowed for this key store"
            }
            AuthenticationFault::Service => "the service in the credential scope must be kms-xks-proxy",
            AuthenticationFault::SignedHeaders => {
                "SignedHeaders must be sorted and unique, each present once, and include host and x-amz-date"
            }
            AuthenticationFault::AccessKeyId | AuthenticationFault::Signature => {
                "the signature does not match; check the access key id, the secret access key and the key store's path"
            }
        }
    }

    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            AuthenticationFault::Claim => "claim",
            AuthenticationFault::HeaderCount => "header-count",
            AuthenticationFault::DateForm => "date-form",
            AuthenticationFault::Skew => "skew",
            AuthenticationFault::ScopeDate => "scope-date",
            AuthenticationFault::Region => "region",
            AuthenticationFault::Service => "service",
            AuthenticationFault::SignedHeaders => "signed-headers",
            AuthenticationFault::AccessKeyId => "access-key-id",
            AuthenticationFault::Signature => "signature",
        }
    }
}

/// A head whose cheap checks passed and whose signature is still to be verified.
pub struct CheckedHead {
    /// The canonical request up to the payload hash.
    canonical: Vec<u8>,
    date_time: [u8; DATE_TIME_LENGTH],
    region: String,
    signature: [u8; 32],
}

/// The checks that need no body: one authorization, host and x-amz-date; the date's form and distance from `now`
/// (seconds since 1970); scope date, region and service; signed names sorted, unique, each present once, host and
/// x-amz-date among them. Between the two the caller is asked for the credential: the canonical text is made for known ones only.
pub fn check_head<C>(
    method: &str,
    path: &str,
    headers: &Headers<'_>,
    claim: &Claim,
    now: u64,
    regions: &[String],
    credential: impl FnOnce(&str) -> Option<C>,
) -> Result<(CheckedHead, C), AuthenticationFault> {
    headers.once("authorization").ok_or(AuthenticationFault::HeaderCount)?;
    headers.once("host").ok_or(AuthenticationFault::HeaderCount)?;
    let date_time = headers.once("x-amz-date").ok_or(AuthenticationFault::HeaderCount)?;
    let date_time: [u8; DATE_TIME_LENGTH] =
        date_time.try_into().map_err(|_| AuthenticationFault::DateForm)?;
    let time = parse_date_time(&date_time).ok_or(AuthenticationFault::DateForm)?;
    if time.abs_diff(now) > CLOCK_SKEW_LIMIT {
        return Err(AuthenticationFault::Skew);
    }
    if claim.date.as_bytes() != &date_time[..8] {
        return Err(AuthenticationFault::ScopeDate);
    }
    if claim.service != SERVICE {
        return Err(AuthenticationFault::Service);
    }
    if !regions.contains(&claim.region) {
        return Err(AuthenticationFault::Region);
    }
    let signature = lower_hex(claim.signature.as_bytes()).ok_or(AuthenticationFault::Claim)?;
    let credential = credential(&claim.access_key_id).ok_or(AuthenticationFault::AccessKeyId)?;
    let canonical = canonical::request_without_payload(method, path, headers, &claim.signed_headers)
        .ok_or(AuthenticationFault::SignedHeaders)?;
    Ok((CheckedHead { canonical, date_time, region: claim.region.clone(), signature }, credential))
}

impl CheckedHead {
    /// The date of the credential scope, `YYYYMMDD`.
    pub fn date(&self) -> &[u8] {
        &self.date_time[..8]
    }

    /// The region of the credential scope.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Compares the claimed signature with the one over this head and a body of this SHA-256, in constant time. `key`
    /// must be derived for [`CheckedHead::date`] and [`CheckedHead::region`].
    pub fn verify(mut self, body_sha256: &[u8; 32], key: &SigningKey) -> Result<(), AuthenticationFault> {
        self.canonical.extend_from_slice(&hex(body_sha256));
        let canonical_sha256: [u8; 32] = Sha256::digest(&self.canonical).into();
        let mut text = Vec::with_capacity(160);
        text.extend_from_slice(b"AWS4-HMAC-SHA256\n");
        text.extend_from_slice(&self.date_time);
        text.push(b'\n');
        text.extend_from_slice(self.date());
        text.push(b'/');
        text.extend_from_slice(self.region.as_bytes());
        text.push(b'/');
        text.extend_from_slice(SERVICE.as_bytes());
        text.extend_from_slice(b"/aws4_request\n");
        text.extend_from_slice(&hex(&canonical_sha256));
        if bool::from(key.sign(&text).ct_eq(&self.signature)) {
            Ok(())
        } else {
            Err(AuthenticationFault::Signature)
        }
    }
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

fn lower_hex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests;
