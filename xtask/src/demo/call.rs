//! One `holdfast call`, shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::process;
use crate::report::{bad, bold, dim, good};

/// Calls the key store of the demonstration.
pub struct Caller {
    program: PathBuf,
    url: String,
    credential: PathBuf,
    ca: PathBuf,
}

/// What came of a call.
pub struct Answer {
    call: String,
    /// The server's answer as the program prints it on its standard output.
    pub output: String,
    shown: String,
    is_success: bool,
}

impl Caller {
    /// For the folder that `holdfast init` made.
    pub fn new(program: PathBuf, folder: &Path, port: u16) -> Self {
        Self {
            program,
            url: format!("https://localhost:{port}"),
            credential: folder.join("demo-credential.json"),
            ca: folder.join("tls/ca.pem"),
        }
    }

    /// The command that makes a signed request.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("call").args(arguments).args(["--url", &self.url]);
        command.arg("--credential").arg(&self.credential).arg("--ca").arg(&self.ca);
        command
    }

    /// Makes a signed request and shows it.
    pub fn call(&self, asked: &str, arguments: &[&str]) -> Result<Answer> {
        println!("\n{}", bold(format!("-- {asked}")));
        println!("   {}", dim(format!("$ holdfast call {}", arguments.join(" "))));
        let mut command = self.command(arguments);
        let is_series = arguments.contains(&"--repeat");
        if !is_series {
            command.arg("--show");
        }
        let done = process::output(command.stdin(Stdio::null()))?;
        let shown = String::from_utf8_lossy(&done.stderr).into_owned();
        let output = String::from_utf8_lossy(&done.stdout).into_owned();
        print!("{}", shortened(&shown));
        if is_series {
            print!("   {output}");
        }
        Ok(Answer {
            call: format!("holdfast call {}", arguments[0]),
            output,
            shown,
            is_success: done.status.success(),
        })
    }
}

impl Answer {
    /// Answered with 200.
    pub fn succeeded(self) -> Result<Self> {
        match self.is_success {
            true => Ok(self),
            false => {
                Err(Error::Unexpected(format!("`{}` should have been answered:\n{}", self.call, self.shown)))
            }
        }
    }

    /// Refused with this errorName.
    pub fn refused(self, error_name: &str) -> Result<Self> {
        if !self.is_success && self.shown.contains(error_name) {
            println!("   {} {error_name}, as it should be", good("refused:"));
            return Ok(self);
        }
        println!("   {}", bad("not refused as it should be"));
        Err(Error::Unexpected(format!(
            "`{}` should have been refused with {error_name}:\n{}",
            self.call, self.shown
        )))
    }
}

/// The request line, what signs it, and each body in one line.
fn shortened(shown: &str) -> String {
    let mut text = String::new();
    let mut body = String::new();
    let mut in_body = false;
    let mut mark = "";
    for line in shown.lines() {
        let (this, rest) = line.split_at_checked(1).unwrap_or((line, ""));
        let rest = rest.trim_start();
        if in_body && (this != mark || !matches!(this, ">" | "<")) {
            text += &format!("   {mark} {}\n", one_line(&body));
            (in_body, body) = (false, String::new());
        }
        match this {
            ">" | "<" if in_body => {
                body += rest;
                body.push('\n');
            }
            ">" | "<" if rest.is_empty() => (in_body, mark) = (true, this),
            ">" | "<" if !is_minor(rest) => text += &format!("   {this} {rest}\n"),
            ">" | "<" => {}
            _ if rest.starts_with("answered in") => text += &format!("   {}\n", dim(rest)),
            _ => {}
        }
    }
    text
}

/// Headers that say nothing about Holdfast.
fn is_minor(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    ["content-type", "content-length", "host", "date", "accept", "user-agent", "connection"].contains(&name)
}

fn one_line(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => body.trim_end().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_call_keeps_request_line_signature_bodies_and_time() {
        let shown = "> POST https://localhost:1/demo/x\n> host: localhost:1\n> authorization: AWS4 Signature=01...\n>\n\
                     > {\n>   \"a\": 1\n> }\n< HTTP/1.1 200 OK\n< content-length: 2\n<\n< {}\n  answered in 1.000 ms\n\n";
        let expected = "   > POST https://localhost:1/demo/x\n   > authorization: AWS4 Signature=01...\n   > {\"a\":1}\n   \
                        < HTTP/1.1 200 OK\n   < {}\n   answered in 1.000 ms\n";
        assert_eq!(shortened(shown), expected);
    }
}
