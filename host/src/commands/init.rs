//! `holdfast init`: a folder with everything that a first key store needs.

pub(super) mod components;
mod next_steps;
mod sealed;
mod staging;
mod template;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;

use super::new_file::Mode;
use super::{CommandError, Output, Usage};
use crate::config::{KeyStoreName, Region, UriPathPrefix};
use staging::Staging;

/// `holdfast init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the configuration (holdfast.toml), the sealed keystore and its seal, the key store and key \"demo\" with a
credential (demo-credential.json, what the KMS console takes), a development CA with a server certificate for
localhost, a starter policy and copies of the components. Nothing is overwritten, and nothing half made is left.

Example:
  holdfast init demo --region eu-central-1")]
pub struct Arguments {
    /// The folder to make
    #[arg(value_name = "DIR", default_value = "holdfast")]
    folder: PathBuf,
    /// The address to listen on [default: 127.0.0.1:8443, with --plain-http 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Plain HTTP instead of HTTPS, only on a loopback address
    #[arg(long)]
    plain_http: bool,
    /// What opens the keystore
    #[arg(long, value_enum, default_value_t = SealKind::KeyFile)]
    seal: SealKind,
    /// The AWS region of the key store
    #[arg(long, default_value = "us-east-1")]
    region: Region,
    /// Where sigv4.wasm, proxy.wasm and policy-cedar.wasm are [default: beside the program]
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
}

/// What opens a new keystore.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SealKind {
    /// A file of random bytes beside it, keystore.seal
    KeyFile,
    /// The passphrase in $HOLDFAST_PASSPHRASE
    Passphrase,
}

/// What a new folder begins with.
const STARTER_POLICY: &str = include_str!("../../../examples/policies/starter.cedar");
/// The name of the first key store and its first key.
const DEMO: &str = "demo";
const DEMO_PREFIX: &str = "/demo";
const CREDENTIAL_FILE: &str = "demo-credential.json";

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let port = if arguments.plain_http { 8080 } else { 8443 };
    let listen = arguments.listen.unwrap_or((Ipv4Addr::LOCALHOST, port).into());
    if arguments.plain_http && !listen.ip().is_loopback() {
        return Err(
            Usage("--plain-http is for a loopback address, such as --listen 127.0.0.1:8080".into()).into()
        );
    }
    let seal = sealed::new_seal(arguments.seal)?;
    let components = components::find(arguments.components.as_deref())?;

    let staging = Staging::beside(&arguments.folder)?;
    staging.folder("components")?;
    for (name, content) in &components {
        staging.file(&format!("components/{name}"), content, Mode::Public)?;
    }
    if !arguments.plain_http {
        certificates(&staging, listen)?;
    }
    staging.file("policy.cedar", STARTER_POLICY.as_bytes(), Mode::Public)?;
    let toml = template::configuration(listen, arguments.plain_http, arguments.seal, &arguments.region);
    staging.file("holdfast.toml", toml.as_bytes(), Mode::Public)?;
    let name: KeyStoreName = DEMO.parse()?;
    let prefix: UriPathPrefix = DEMO_PREFIX.parse()?;
    let credential = sealed::create(&staging, &seal, &name, &prefix)?;
    staging.file(CREDENTIAL_FILE, credential.expose(), Mode::Secret)?;
    staging.finish()?;

    output.line(next_steps::text(&arguments, listen))?;
    Ok(())
}

fn certificates(staging: &Staging, listen: SocketAddr) -> Result<(), CommandError> {
    let certificates = tls::make(listen.ip())?;
    staging.folder("tls")?;
    staging.file("tls/ca.pem", certificates.authority.as_bytes(), Mode::Public)?;
    staging.file("tls/ca-key.pem", certificates.authority_key.as_bytes(), Mode::Secret)?;
    staging.file("tls/server.pem", certificates.server.as_bytes(), Mode::Public)?;
    staging.file("tls/server-key.pem", certificates.server_key.as_bytes(), Mode::Secret)?;
    Ok(())
}
