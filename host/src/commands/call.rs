//! `holdfast call`: signed requests to any XKS proxy, as AWS KMS sends them.

mod inputs;
mod show;
pub(crate) mod target;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_client::message::{Decrypt, Decrypted, Encrypt, Encrypted, Health, KeyMetadata, MetadataOnly};
use holdfast_client::{Answer, CallError, Client, Operation, Protocol};
use serde::Serialize;

use self::inputs::{Facts, Plaintext, SealedInput};
use self::show::{Alteration, show_answer, show_request};
use self::target::Target;
pub use self::target::Unreachable;
use crate::commands::{CommandError, Output};

/// `holdfast call`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 answered with 200; 1 refused by the server, with its errorName; 2 wrong usage; 3 no answer.

Examples:
  holdfast call health --url https://localhost:8443 --ca demo/ca.pem --credential kms.json
  holdfast call encrypt --url https://localhost:8443 --ca demo/ca.pem --credential kms.json \\
      --key demo --plaintext 'Hello World!' --cdiv --json > sealed.json
  holdfast call decrypt --url https://localhost:8443 --ca demo/ca.pem --credential kms.json \\
      --key demo --from sealed.json")]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// GetHealthStatus: can the key store serve?
    Health {
        #[command(flatten)]
        common: Common,
    },
    /// GetKeyMetadata: what is the key, and what may it do?
    Metadata {
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        common: Common,
    },
    /// Encrypt some bytes. The answer's sizes and CDIV are checked, as KMS does.
    Encrypt {
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        plaintext: Plaintext,
        /// Additional authenticated data, as text
        #[arg(long, value_name = "TEXT")]
        aad: Option<String>,
        /// Ask for the ciphertext data integrity value
        #[arg(long)]
        cdiv: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Decrypt what encrypt gave.
    Decrypt {
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        sealed: SealedInput,
        /// Additional authenticated data, as given to encrypt
        #[arg(long, value_name = "TEXT")]
        aad: Option<String>,
        /// Write the plaintext to this file instead of the standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Key {
    /// The external key id
    #[arg(long = "key", value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    facts: Facts,
    /// Speak HTTP/2 instead of HTTP/1.1
    #[arg(long)]
    http2: bool,
    /// Send it so many times over one connection, each with a new kmsRequestId
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    repeat: u32,
    /// Show request, answer and time on the standard error; never the secret
    #[arg(long)]
    show: bool,
    /// Answer in JSON: the server's own body
    #[arg(long)]
    json: bool,
    /// Alter the request after it was signed, to see it refused
    #[arg(long, value_name = "PART")]
    alter: Option<Alteration>,
}

/// Sends the requests and prints the answers.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.action {
        Action::Health { common } => {
            let mut call = Call::new(&common, Operation::Health, "")?;
            runtime.block_on(call.repeat(
                output,
                |facts| MetadataOnly { request_metadata: facts },
                read_health,
            ))
        }
        Action::Metadata { key, common } => {
            let mut call = Call::new(&common, Operation::Metadata, &key.id)?;
            let body = |facts| MetadataOnly { request_metadata: facts };
            runtime.block_on(call.repeat(output, body, read_metadata))
        }
        Action::Encrypt { key, plaintext, aad, cdiv, common } => {
            let plaintext = plaintext.read()?;
            let aad = aad.map(String::into_bytes);
            let mut call = Call::new(&common, Operation::Encrypt, &key.id)?;
            let body = |facts| Encrypt::new(facts, plaintext.clone(), aad.clone(), cdiv);
            let read = |answer: &Answer| read_encrypted(answer, plaintext.len(), aad.as_deref(), cdiv);
            runtime.block_on(call.repeat(output, body, read))
        }
        Action::Decrypt { key, sealed, aad, output: file, common } => {
            let sealed = sealed.read()?;
            let aad = aad.map(String::into_bytes);
            let mut call = Call::new(&common, Operation::Decrypt, &key.id)?;
            let body = |facts| Decrypt::new(facts, sealed.clone(), aad.clone());
            let read = |answer: &Answer| read_decrypted(answer, file.as_deref());
            runtime.block_on(call.repeat(output, body, read))
        }
    }
}

/// One operation on one key, to be sent once or more.
struct Call<'a> {
    common: &'a Common,
    operation: Operation,
    key: &'a str,
    client: Client,
}

impl<'a> Call<'a> {
    fn new(common: &'a Common, operation: Operation, key: &'a str) -> Result<Self, CommandError> {
        let protocol = if common.http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok(Self { common, operation, key, client: common.target.client(protocol)? })
    }

    /// `read` gives the lines for people; with `--json` the body is printed as it came.
    async fn repeat<B: Serialize>(
        &mut self,
        output: &mut Output,
        body: impl Fn(holdfast_client::RequestMetadata) -> B,
        read: impl Fn(&Answer) -> Result<String, CommandError>,
    ) -> Result<(), CommandError> {
        let mut times = Vec::new();
        for _ in 0..self.common.repeat {
            let facts = self.common.facts.metadata(self.operation, &self.common.target.region)?;
            let answer = self.exchange(&body(facts)).await?;
            times.push(answer.elapsed);
            let lines = read(&answer);
            if self.common.json && (lines.is_ok() || answer.status != http::StatusCode::OK) {
                self.print_json(output, &answer)?;
                lines?;
            } else {
                let lines = lines?;
                if self.common.repeat == 1 {
                    output.line(lines)?;
                }
            }
        }
        if self.common.repeat > 1 && !self.common.json {
            times.sort_unstable();
            let at = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
            let (min, median, max) = (at(0), at(times.len() / 2), at(times.len() - 1));
            output.line(format_args!(
                "{} x {}: all 200; {min:.3} ms at least, {median:.3} ms median, {max:.3} ms at most",
                times.len(),
                self.operation
            ))?;
        }
        Ok(())
    }

    async fn exchange(&mut self, body: &impl Serialize) -> Result<Answer, CommandError> {
        let mut request = self.client.request(self.operation, self.key, body).map_err(usage)?;
        if let Some(part) = self.common.alter {
            part.apply(&mut request);
        }
        let connected = self.client.connect().await.map_err(Unreachable)?;
        if self.common.show {
            show_request(&request);
        }
        let answer = self.client.send(request).await.map_err(Unreachable)?;
        if self.common.show {
            show_answer(&answer, connected);
        }
        Ok(answer)
    }

    /// Indented when it is the only one, else one a line.
    fn print_json(&self, output: &mut Output, answer: &Answer) -> Result<(), CommandError> {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| {
            CallError::Wrong(format!("{} with a body that isn't JSON: {error}", answer.status))
        })?;
        if self.common.repeat == 1 {
            output.json(&body)?
        } else {
            output.line(&body)?
        }
        // A refusal's body comes before the complaint about it.
        Ok(output.flush()?)
    }
}

/// A request that can't be made is the caller's mistake.
fn usage(error: CallError) -> CommandError {
    super::Usage(error.to_string()).into()
}

fn read_health(answer: &Answer) -> Result<String, CommandError> {
    let health: Health = answer.read()?;
    let mut lines = format!(
        "proxy         {} ({}), {} in the fleet\nkey managers  {}",
        health.xks_proxy_model, health.xks_proxy_vendor, health.xks_proxy_fleet_size, health.ekm_vendor
    );
    for manager in &health.ekm_fleet_details {
        lines += &format!("\n  {:<11} {}, {}", manager.health_status, manager.id, manager.model);
    }
    Ok(lines)
}

fn read_metadata(answer: &Answer) -> Result<String, CommandError> {
    let key: KeyMetadata = answer.read()?;
    Ok(format!("{} {}, usage {}", key.key_spec, key.key_status, key.key_usage.join(" ")))
}

fn read_encrypted(
    answer: &Answer,
    plaintext_len: usize,
    aad: Option<&[u8]>,
    cdiv: bool,
) -> Result<String, CommandError> {
    let encrypted: Encrypted = answer.read()?;
    encrypted.check(plaintext_len, aad.unwrap_or_default(), cdiv).map_err(CallError::from)?;
    let sealed = &encrypted.sealed;
    let mut lines = format!(
        "ciphertext            {}\ninitializationVector  {}\nauthenticationTag     {}",
        sealed.ciphertext.text(),
        sealed.initialization_vector.text(),
        sealed.authentication_tag.text()
    );
    if let Some(metadata) = &sealed.ciphertext_metadata {
        lines += &format!("\nciphertextMetadata    {}", metadata.text());
    }
    if let Some(value) = &encrypted.ciphertext_data_integrity_value {
        lines += &format!("\nCDIV                  {} (right)", value.text());
    }
    Ok(lines)
}

fn read_decrypted(answer: &Answer, file: Option<&std::path::Path>) -> Result<String, CommandError> {
    let Decrypted { plaintext } = answer.read()?;
    if let Some(path) = file {
        std::fs::write(path, &plaintext.0)
            .map_err(|error| format!("can't write the plaintext to {}: {error}", path.display()))?;
        return Ok(format!("{} bytes written to {}", plaintext.0.len(), path.display()));
    }
    let base64 = plaintext.text();
    match String::from_utf8(plaintext.0) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => Ok(text),
        _ => Ok(format!("in Base64, as it isn't text: {base64}")),
    }
}
