//! Which key store to call, and as whom.

use std::path::{Path, PathBuf};

use clap::Args;
use holdfast_client::{Client, Credential, Endpoint, KmsConfig, Protocol, Signer, TransportError, Trust};

use crate::commands::{CommandError, Usage};

/// Where the distributions keep the CA certificates that the system trusts.
const SYSTEM_CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// No answer came; the exit code is 3.
#[derive(Debug, thiserror::Error)]
#[error("the key store can't be reached")]
pub struct Unreachable(#[source] pub TransportError);

/// The key store's address and credential.
#[derive(Debug, Args)]
pub struct Target {
    /// The key store: https://HOST[:PORT][/PREFIX]; without a path, the credential file's XksProxyUriPath is taken
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The JSON file for the KMS console, as `holdfast kms-config` prints it
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "access_key_id",
        conflicts_with = "access_key_id"
    )]
    pub credential: Option<PathBuf>,
    /// The access key id, when there is no such file
    #[arg(long, value_name = "ID", requires = "secret_file")]
    pub access_key_id: Option<String>,
    /// A file with the secret access key alone
    #[arg(long, value_name = "FILE", requires = "access_key_id")]
    pub secret_file: Option<PathBuf>,
    /// The AWS region to sign for
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// Trust servers with a certificate of this CA (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust whoever answers; only for localhost
    #[arg(long)]
    pub insecure: bool,
}

/// What the arguments stand for.
pub struct Resolved {
    /// Where.
    pub endpoint: Endpoint,
    /// Whose certificate.
    pub trust: Trust,
    /// As whom.
    pub credential: Credential,
}

impl Target {
    /// Reads the files that the arguments name.
    pub fn resolve(&self) -> Result<Resolved, CommandError> {
        let (credential, uri_path) = match (&self.credential, &self.access_key_id, &self.secret_file) {
            (Some(path), ..) => {
                let config = KmsConfig::from_json(&read(path)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                (config.credential, Some(config.uri_path))
            }
            (None, Some(id), Some(path)) => {
                let text = String::from_utf8(read(path)?)
                    .map_err(|_| format!("{}: the secret isn't ASCII text", path.display()))?;
                (Credential::new(id, text.trim().to_owned().into())?, None)
            }
            _ => return Err(Usage("give --credential, or --access-key-id and --secret-file".into()).into()),
        };
        let endpoint = Endpoint::parse(&self.url, uri_path.as_deref()).map_err(|e| Usage(e.to_string()))?;
        let trust = self.trust(&endpoint)?;
        Ok(Resolved { endpoint, trust, credential })
    }

    /// A client that isn't connected yet.
    pub fn client(&self, protocol: Protocol) -> Result<Client, CommandError> {
        let Resolved { endpoint, trust, credential } = self.resolve()?;
        let signer = Signer::new(&credential, &self.region).map_err(|error| Usage(error.to_string()))?;
        Ok(Client::new(endpoint, trust, protocol, signer))
    }

    fn trust(&self, endpoint: &Endpoint) -> Result<Trust, CommandError> {
        if let Some(path) = &self.ca {
            return Ok(Trust::CaFile(path.clone()));
        }
        if self.insecure && endpoint.tls() && !endpoint.is_loopback() {
            return Err(
                Usage(format!("--insecure is only for localhost, not for {}", endpoint.host())).into()
            );
        }
        // Plain HTTP looks at no certificate.
        if self.insecure || !endpoint.tls() {
            return Ok(Trust::AnyOnLoopback);
        }
        let system = SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists());
        let none = || Usage("this system has no CA file in a usual place; give --ca FILE".into());
        Ok(Trust::CaFile(system.ok_or_else(none)?.to_owned()))
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|error| format!("can't read {}: {error}", path.display()).into())
}
