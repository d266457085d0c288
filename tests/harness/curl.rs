//! Requests signed by curl.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::host::{Credential, Host};
use crate::reply::Reply;

/// Whether this machine's curl has `--aws-sigv4` (7.75 and later); says that a test is skipped when not.
pub fn curl_signs() -> bool {
    static SIGNS: OnceLock<bool> = OnceLock::new();
    let signs = *SIGNS.get_or_init(|| {
        let help = Command::new("curl").args(["--help", "all"]).output();
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--aws-sigv4"))
    });
    if !signs {
        println!("skipped: curl with --aws-sigv4 isn't installed");
    }
    signs
}

/// Runs curl with `arguments`, `input` on its standard input; its standard output, or what it complained about.
pub fn run_curl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    curl.stdin.take().unwrap().write_all(input).unwrap();
    let output = curl.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Host {
    /// Posts `body` to `path` (such as `/keys/demo/encrypt`), signed by curl, over HTTP/1.1 unless `extra` says
    /// otherwise; `None` when curl can't sign.
    #[track_caller]
    pub fn curl(&self, path: &str, body: impl ToString, extra: &[&str]) -> Option<Reply> {
        self.curl_as(self.credential(), "us-east-1", path, body, extra)
    }

    /// The same with any credential and region.
    #[track_caller]
    pub fn curl_as(
        &self,
        credential: &Credential,
        region: &str,
        path: &str,
        body: impl ToString,
        extra: &[&str],
    ) -> Option<Reply> {
        if !curl_signs() {
            return None;
        }
        let user = format!("{}:{}", credential.access_key_id, credential.secret);
        let signing = format!("aws:amz:{region}:kms-xks-proxy");
        let url = format!("{}{}{path}", self.url(), self.uri_path());
        let ca = self.ca_file();
        let ca = ca.to_str().unwrap();
        let mut arguments = vec!["--include", "--http1.1", "--request", "POST", "--data-binary", "@-"];
        arguments.extend(["--header", "content-type: application/json"]);
        arguments.extend(["--user", &user, "--aws-sigv4", &signing]);
        if self.is_tls() {
            arguments.extend(["--cacert", ca]);
        }
        arguments.extend(extra);
        arguments.push(&url);
        let answer = run_curl(&arguments, body.to_string().as_bytes()).unwrap();
        let Some(http2) = answer.strip_prefix(b"HTTP/2 ") else {
            let (reply, _) = Reply::parse(&answer).expect("a whole answer");
            return Some(reply);
        };
        // Curl shows an answer of HTTP/2 as HTTP/1.1 has it, but for the version.
        let (reply, _) = Reply::parse(&[b"HTTP/1.1 ", http2].concat()).expect("a whole answer");
        Some(Reply { version: "HTTP/2.0".into(), ..reply })
    }
}
