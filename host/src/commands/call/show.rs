//! `--show` and `--alter`: what goes over the wire, for people who learn or debug.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use holdfast_client::Answer;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Version};

/// A part to alter after signing.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Alteration {
    /// A space after the body.
    Body,
    /// The signature's last digit.
    Signature,
    /// The second of x-amz-date.
    Date,
}

impl Alteration {
    /// Makes the signature wrong.
    pub fn apply(self, request: &mut Request<Bytes>) {
        match self {
            Self::Body => *request.body_mut() = [request.body().as_ref(), b" "].concat().into(),
            Self::Signature => alter_last(request.headers_mut(), "authorization", 0),
            // The digit before the closing `Z`.
            Self::Date => alter_last(request.headers_mut(), "x-amz-date", 1),
        }
    }
}

fn alter_last(headers: &mut HeaderMap, name: &'static str, from_end: usize) {
    let Some(value) = headers.get_mut(name) else { return };
    let mut bytes = value.as_bytes().to_vec();
    if let Some(byte) = bytes.iter_mut().rev().nth(from_end) {
        *byte = if *byte == b'0' { b'1' } else { b'0' };
    }
    if let Ok(altered) = HeaderValue::from_bytes(&bytes) {
        *value = altered;
    }
}

/// Prints a request with its signature shortened, so that a pasted log can't be replayed.
pub fn show_request(request: &Request<Bytes>) {
    let mut text = format!("> {} {}\n", request.method(), request.uri());
    headers(&mut text, '>', request.headers());
    body(&mut text, '>', request.body());
    print(&text);
}

/// Prints an answer and the times.
pub fn show_answer(answer: &Answer, connected: Option<Duration>) {
    let version = if answer.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut text = format!("< {version} {}\n", answer.status);
    headers(&mut text, '<', &answer.headers);
    body(&mut text, '<', &answer.body);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let _ = write!(text, "  answered in {:.3} ms", milliseconds(answer.elapsed));
    if let Some(time) = connected {
        let _ = write!(text, ", connected in {:.3} ms", milliseconds(time));
    }
    text.push_str("\n\n");
    print(&text);
}

fn headers(text: &mut String, mark: char, headers: &HeaderMap) {
    for (name, value) in headers {
        let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == AUTHORIZATION
            && let Some(start) = value.find("Signature=").map(|at| at + "Signature=".len())
            && value.is_char_boundary(start + 8)
        {
            value.truncate(start + 8);
            value.push_str("...");
        }
        let _ = writeln!(text, "{mark} {name}: {value}");
    }
}

fn body(text: &mut String, mark: char, body: &Bytes) {
    let indented = serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    let _ = writeln!(text, "{mark}");
    for line in indented.lines() {
        let _ = writeln!(text, "{mark} {line}");
    }
}

fn print(text: &str) {
    // Nobody is left to tell when the standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
