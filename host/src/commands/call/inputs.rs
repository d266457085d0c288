//! What a call sends: request metadata, plaintext, ciphertext.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_client::message::{Base64, Sealed};
use holdfast_client::{Operation, RequestMetadata, new_request_id};

use super::target::read;
use crate::commands::{CommandError, Usage};

/// The requestMetadata.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request metadata")]
pub struct Facts {
    /// awsPrincipalArn: an ARN, a service principal, or `AWS Internal`
    #[arg(long, value_name = "PRINCIPAL", default_value = "arn:aws:iam::123456789012:role/Example")]
    principal: String,
    /// kmsKeyArn [default: an example in account 123456789012 and --region]
    #[arg(long, value_name = "ARN")]
    kms_key_arn: Option<String>,
    /// kmsOperation [default: what KMS usually sends with the call]
    #[arg(long, value_name = "NAME")]
    kms_operation: Option<String>,
    /// kmsRequestId [default: a new random one each time]
    #[arg(long, value_name = "TEXT")]
    request_id: Option<String>,
    /// kmsViaService, such as ebs
    #[arg(long, value_name = "SERVICE")]
    via_service: Option<String>,
    /// awsSourceVpc
    #[arg(long, value_name = "ID")]
    source_vpc: Option<String>,
    /// awsSourceVpce
    #[arg(long, value_name = "ID")]
    source_vpce: Option<String>,
}

impl Facts {
    /// The fields that `operation` has, with a new request id unless one was given.
    pub fn metadata(&self, operation: Operation, region: &str) -> Result<RequestMetadata, CommandError> {
        let request_id = match &self.request_id {
            Some(id) => id.clone(),
            None => new_request_id()?,
        };
        let kms_operation = self.kms_operation.as_deref().unwrap_or(operation.usual_kms_operation());
        let mut metadata = RequestMetadata {
            kms_operation: kms_operation.to_owned(),
            kms_request_id: request_id,
            ..Default::default()
        };
        if operation != Operation::Health {
            metadata.aws_principal_arn = Some(self.principal.clone());
            metadata.aws_source_vpc.clone_from(&self.source_vpc);
            metadata.aws_source_vpce.clone_from(&self.source_vpce);
            metadata.kms_via_service.clone_from(&self.via_service);
        }
        if matches!(operation, Operation::Encrypt | Operation::Decrypt) {
            // Region and account stand in it, for policies that look at them.
            let example =
                || format!("arn:aws:kms:{region}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab");
            metadata.kms_key_arn = Some(self.kms_key_arn.clone().unwrap_or_else(example));
        }
        Ok(metadata)
    }
}

/// What to encrypt.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Plaintext {
    /// The plaintext, as text
    #[arg(long, value_name = "TEXT")]
    plaintext: Option<String>,
    /// A file with the plaintext; - is the standard input
    #[arg(long, value_name = "FILE")]
    plaintext_file: Option<PathBuf>,
}

impl Plaintext {
    /// The bytes.
    pub fn read(&self) -> Result<Vec<u8>, CommandError> {
        match (&self.plaintext, &self.plaintext_file) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(path)) => read_or_stdin(path),
            (None, None) => Err(Usage("give --plaintext or --plaintext-file".into()).into()),
        }
    }
}

/// What to decrypt: `encrypt --json`'s output, or its parts.
#[derive(Debug, Args)]
pub struct SealedInput {
    /// The JSON that `encrypt --json` printed; - is the standard input
    #[arg(long, value_name = "FILE", required_unless_present = "ciphertext", conflicts_with = "ciphertext")]
    from: Option<PathBuf>,
    /// The ciphertext in Base64
    #[arg(long, value_name = "BASE64", requires = "iv", requires = "tag")]
    ciphertext: Option<String>,
    /// The initializationVector in Base64
    #[arg(long, value_name = "BASE64", requires = "ciphertext")]
    iv: Option<String>,
    /// The authenticationTag in Base64
    #[arg(long, value_name = "BASE64", requires = "ciphertext")]
    tag: Option<String>,
    /// The ciphertextMetadata in Base64
    #[arg(long, value_name = "BASE64", requires = "ciphertext")]
    ciphertext_metadata: Option<String>,
}

impl SealedInput {
    /// The parts, decoded.
    pub fn read(&self) -> Result<Sealed, CommandError> {
        if let Some(path) = &self.from {
            return serde_json::from_slice(&read_or_stdin(path)?).map_err(|error| {
                format!("{} isn't the output of `encrypt --json`: {error}", path.display()).into()
            });
        }
        let part = |name: &str, text: &Option<String>| {
            let text = text.as_deref().ok_or_else(|| Usage(format!("give {name}")))?;
            let bytes = STANDARD.decode(text);
            bytes.map(Base64).map_err(|error| Usage(format!("{name} is no padded standard Base64: {error}")))
        };
        Ok(Sealed {
            ciphertext: part("--ciphertext", &self.ciphertext)?,
            initialization_vector: part("--iv", &self.iv)?,
            authentication_tag: part("--tag", &self.tag)?,
            ciphertext_metadata: match &self.ciphertext_metadata {
                Some(_) => Some(part("--ciphertext-metadata", &self.ciphertext_metadata)?),
                None => None,
            },
        })
    }
}

fn read_or_stdin(path: &Path) -> Result<Vec<u8>, CommandError> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| format!("can't read the standard input: {error}"))?;
    Ok(bytes)
}
