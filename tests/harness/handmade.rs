//! Requests written and signed by hand, so that any part of them can be odd. The signature follows the SigV4
//! documentation and shares no code with the host or the client.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::host::{Credential, Host};

/// An HTTP/1.1 request. Change any field before [`HandMade::sign`], or after it to alter what was signed.
#[derive(Clone, Debug)]
pub struct HandMade {
    /// `POST`.
    pub method: String,
    /// As it stands in the request line.
    pub path: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// As they are sent, in this order; `authorization` comes with `sign`, `content-length` with `bytes`.
    pub headers: Vec<(String, String)>,
    /// The lower-case names that are signed, in this order; as often as they stand here.
    pub signed: Vec<String>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Who signs.
    pub credential: Credential,
    /// The date in the credential scope, `YYYYMMDD`.
    pub scope_date: String,
    /// The region in the credential scope.
    pub region: String,
    /// The service in the credential scope.
    pub service: String,
}

impl HandMade {
    /// A proper request to `path` (such as `/keys/demo/encrypt`) of the host's key store `demo`, dated now.
    pub fn new(host: &Host, path: &str, body: impl ToString) -> HandMade {
        let date = amz_date(SystemTime::now());
        HandMade {
            method: "POST".into(),
            path: format!("{}{path}", host.uri_path()),
            version: "HTTP/1.1".into(),
            headers: vec![
                ("host".into(), host.authority()),
                ("content-type".into(), "application/json".into()),
                ("x-amz-date".into(), date.clone()),
            ],
            signed: ["content-type", "host", "x-amz-date"].map(str::to_owned).to_vec(),
            body: body.to_string().into_bytes(),
            credential: host.credential().clone(),
            scope_date: date[..8].to_owned(),
            region: "us-east-1".into(),
            service: "kms-xks-proxy".into(),
        }
    }

    /// The same at another time.
    pub fn at(mut self, time: SystemTime) -> HandMade {
        let date = amz_date(time);
        self.scope_date = date[..8].to_owned();
        self.set("x-amz-date", &date);
        self
    }

    /// Sets the first header of this name, or adds it.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(header, _)| header.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Takes all headers of this name away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
    }

    /// The value of the first header of this name; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The `authorization` value for the request as it is.
    pub fn authorization(&self) -> String {
        let scope = format!("{}/{}/{}/aws4_request", self.scope_date, self.region, self.service);
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={}",
            self.credential.access_key_id,
            self.signed.join(";"),
            self.signature(&scope)
        )
    }

    fn signature(&self, scope: &str) -> String {
        let mut canonical = format!("{}\n{}\n\n", self.method, self.path);
        for name in &self.signed {
            let values: Vec<String> = self
                .headers
                .iter()
                .filter(|(header, _)| header.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            let _ = writeln!(canonical, "{name}:{}", values.join(","));
        }
        let _ = write!(canonical, "\n{}\n{}", self.signed.join(";"), hex(&Sha256::digest(&self.body)));
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
            self.header("x-amz-date"),
            hex(&Sha256::digest(canonical))
        );
        let mut key = format!("AWS4{}", self.credential.secret).into_bytes();
        for part in [&*self.scope_date, &*self.region, &*self.service, "aws4_request", &*to_sign] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&key)
    }

    /// Adds the `authorization` header, or replaces it.
    #[must_use]
    pub fn sign(mut self) -> HandMade {
        let authorization = self.authorization();
        self.set("authorization", &authorization);
        self
    }

    /// The head alone, without a Content-Length of its own, with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.path, self.version);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Head and body, with a `content-length` unless a header says how long the body is.
    pub fn bytes(&self) -> Vec<u8> {
        let framed = ["content-length", "transfer-encoding"];
        let mut whole = self.clone();
        if !self.headers.iter().any(|(name, _)| framed.contains(&name.to_ascii_lowercase().as_str())) {
            whole.set("content-length", &self.body.len().to_string());
        }
        [whole.head(), whole.body].concat()
    }
}

/// `YYYYMMDDTHHMMSSZ`.
pub fn amz_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    // Days since 1 March of the year 0, in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let second = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
