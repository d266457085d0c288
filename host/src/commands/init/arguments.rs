//! What `init` takes, and what it calls things.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::config::Region;

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
    pub folder: PathBuf,
    /// The address to listen on [default: 127.0.0.1:8443, with --plain-http 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Plain HTTP instead of HTTPS, only on a loopback address
    #[arg(long)]
    pub plain_http: bool,
    /// What opens the keystore
    #[arg(long, value_enum, default_value_t = SealKind::KeyFile)]
    pub seal: SealKind,
    /// The AWS region of the key store
    #[arg(long, default_value = "us-east-1")]
    pub region: Region,
    /// Where sigv4.wasm, proxy.wasm and policy-cedar.wasm are [default: beside the program]
    #[arg(long, value_name = "DIR")]
    pub components: Option<PathBuf>,
}

/// What opens a new keystore.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SealKind {
    /// A file of random bytes beside it, keystore.seal
    KeyFile,
    /// The passphrase in $HOLDFAST_PASSPHRASE
    Passphrase,
}

/// The name of the first key store and its first key.
pub const DEMO: &str = "demo";
/// The credential of the first key store.
pub const CREDENTIAL_FILE: &str = "demo-credential.json";
