//! SigV4 for one fixed set of headers, with the derived key kept for the day.
//!
//! aws-sigv4 derives the key and builds its header maps anew for each request; next to the server, on its cores, that
//! is too much. A test holds the two to the same signature.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::credential::Credential;
use crate::sign::SERVICE;

type HmacSha256 = Hmac<Sha256>;

pub(super) const SIGNED_HEADERS: &str = "content-type;host;x-amz-date";
pub(super) const CONTENT_TYPE: &str = "application/json";

/// Signs POSTs to one authority.
pub(super) struct QuickSigner {
    credential: Credential,
    region: String,
    authority: String,
    /// Seconds since 1970 that `timestamp` stands for.
    second: u64,
    /// `YYYYMMDDTHHMMSSZ`.
    timestamp: String,
    scope: String,
    /// Keyed with the day's signing key.
    mac: HmacSha256,
    canonical: Vec<u8>,
}

impl QuickSigner {
    pub(super) fn new(credential: Credential, region: &str, authority: &str, now: u64) -> Self {
        let mut signer = Self {
            credential,
            region: region.to_owned(),
            authority: authority.to_owned(),
            second: 0,
            timestamp: String::new(),
            scope: String::new(),
            mac: keyed(b""),
            canonical: Vec::new(),
        };
        signer.turn_to(now);
        signer
    }

    /// Appends the header lines `x-amz-date` and `authorization`. `now` is in seconds since 1970.
    pub(super) fn sign(&mut self, path: &str, body: &[u8], now: u64, out: &mut Vec<u8>) {
        self.turn_to(now);
        self.canonical.clear();
        for part in [
            "POST\n",
            path,
            "\n\ncontent-type:",
            CONTENT_TYPE,
            "\nhost:",
            &self.authority,
            "\nx-amz-date:",
            &self.timestamp,
            "\n\n",
            SIGNED_HEADERS,
            "\n",
        ] {
            self.canonical.extend_from_slice(part.as_bytes());
        }
        hex(&Sha256::digest(body), &mut self.canonical);
        let canonical_hash = Sha256::digest(&self.canonical);

        let to_sign = &mut self.canonical;
        to_sign.clear();
        for part in ["AWS4-HMAC-SHA256\n", &self.timestamp, "\n", &self.scope, "\n"] {
            to_sign.extend_from_slice(part.as_bytes());
        }
        hex(&canonical_hash, to_sign);
        let mut mac = self.mac.clone();
        mac.update(to_sign);
        let signature = mac.finalize().into_bytes();
        self.write_headers(&signature, out);
    }

    /// The same with a signature of one's own.
    pub(super) fn forge(&mut self, signature: [u8; 32], now: u64, out: &mut Vec<u8>) {
        self.turn_to(now);
        self.write_headers(&signature, out);
    }

    fn write_headers(&self, signature: &[u8], out: &mut Vec<u8>) {
        for part in [
            "x-amz-date: ",
            &self.timestamp,
            "\r\nauthorization: AWS4-HMAC-SHA256 Credential=",
            self.credential.access_key_id(),
            "/",
            &self.scope,
            ", SignedHeaders=",
            SIGNED_HEADERS,
            ", Signature=",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        hex(signature, out);
        out.extend_from_slice(b"\r\n");
    }

    /// The timestamp of a second, and the key of its day.
    fn turn_to(&mut self, now: u64) {
        if now == self.second {
            return;
        }
        let (year, month, day) = civil(now / 86_400);
        let date = format!("{year:04}{month:02}{day:02}");
        let (hour, minute, second) = (now / 3_600 % 24, now / 60 % 60, now % 60);
        self.timestamp = format!("{date}T{hour:02}{minute:02}{second:02}Z");
        if now / 86_400 != self.second / 86_400 {
            let secret = zeroize::Zeroizing::new(format!("AWS4{}", self.credential.secret()));
            let mut mac = keyed(secret.as_bytes());
            for part in [date.as_str(), &self.region, SERVICE, "aws4_request"] {
                mac.update(part.as_bytes());
                mac = keyed(&mac.finalize().into_bytes());
            }
            self.mac = mac;
            self.scope = format!("{date}/{}/{SERVICE}/aws4_request", self.region);
        }
        self.second = now;
    }
}

/// HMAC takes keys of any length (RFC 2104, section 2), so the other branch is never taken.
fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).unwrap_or_else(|_| HmacSha256::new(&Default::default()))
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// Year, month and day of a day counted from 1970-01-01, in years of the Gregorian calendar that begin in March.
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // 0000-03-01 is 719,468 days before 1970-01-01.
    let day = day + 719_468;
    let (era, day) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;

    use super::*;
    use crate::sign::Signer;

    fn credential() -> Credential {
        let secret = "NotARealSecretButLongEnoughToLookLikeOne1234".to_owned();
        Credential::new("TESTTESTTESTTESTTEST", secret.into()).unwrap()
    }

    fn by_aws_sigv4(path: &str, authority: &str, body: &[u8], now: u64) -> String {
        let mut request = http::Request::post(path)
            .header("host", authority)
            .header("content-type", CONTENT_TYPE)
            .body(Bytes::copy_from_slice(body))
            .unwrap();
        let signer = Signer::new(&credential(), "eu-central-1").unwrap();
        signer.sign(&mut request, UNIX_EPOCH + Duration::from_secs(now)).unwrap();
        let text = |name| request.headers()[name].to_str().unwrap();
        format!("x-amz-date: {}\r\nauthorization: {}\r\n", text("x-amz-date"), text("authorization"))
    }

    #[test]
    fn the_signature_is_that_of_aws_sigv4_on_any_day() {
        let (authority, path) = ("localhost:8443", "/a/kms/xks/v1/keys/demo.1_x-y/encrypt");
        let mut signer = QuickSigner::new(credential(), "eu-central-1", authority, 1);
        // Leap days, ends of years and of centuries, and seconds of one day, out of order.
        let times = [
            951_782_400,
            951_868_799,
            951_868_800,
            1_700_000_000,
            1_700_000_001,
            1_709_164_800,
            1_709_251_199,
            1_735_689_599,
            1_735_689_600,
            4_102_444_799,
            4_102_444_800,
            4_107_542_399,
            4_107_542_400,
            1_700_000_000,
        ];
        for (length, now) in times.into_iter().enumerate() {
            let body = vec![b'x'; length * 61];
            let mut out = Vec::new();
            signer.sign(path, &body, now, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), by_aws_sigv4(path, authority, &body, now));
        }
    }

    /// Prints what a signature costs: `cargo test --release -p holdfast-client signature_cost -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn signature_cost() {
        let (authority, path) = ("localhost:8443", "/a/kms/xks/v1/keys/demo/encrypt");
        let body = vec![b'x'; 450];
        let rounds: u32 = 100_000;
        let start = std::time::Instant::now();
        let mut signer = QuickSigner::new(credential(), "eu-central-1", authority, 1);
        let mut out = Vec::new();
        for _ in 0..rounds {
            out.clear();
            signer.sign(path, std::hint::black_box(&body), 1_700_000_000, &mut out);
        }
        println!("with the day's key kept: {:?}", start.elapsed() / rounds);

        let signer = Signer::new(&credential(), "eu-central-1").unwrap();
        let body = Bytes::from(body);
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            let mut request = http::Request::post(path)
                .header("host", authority)
                .header("content-type", CONTENT_TYPE)
                .body(std::hint::black_box(body.clone()))
                .unwrap();
            signer.sign(&mut request, UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        }
        println!("aws-sigv4: {:?}", start.elapsed() / rounds);
    }
}
