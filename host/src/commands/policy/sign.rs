//! `holdfast policy sign` and `verify`: the files are minisign's, so that either tool takes the other's.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use minisign::SecretKeyBox;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::commands::new_file::{self, Mode};
use crate::commands::{CommandError, Output, Usage};
use crate::config::Config;
use holdfast_policy::artefact::{
    Artefact, SIGNATURE_SUFFIX, SignatureError, TrustedKeys, artefact_digest, signer,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes FILE.minisig beside the file. `minisign -G` makes a key, and `minisign -S` the same signature.

Example:
  holdfast policy sign payments-1.2.0.wasm --key minisign.key --password-file password")]
pub struct SignArguments {
    /// A policy's file
    file: PathBuf,
    /// minisign's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with the key's password in its first line; none where the key has no password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 1 where the signature doesn't count.

Examples:
  holdfast policy verify payments-1.2.0.wasm --key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
  holdfast policy verify payments-1.2.0.wasm --config /etc/holdfast/holdfast.toml")]
pub struct VerifyArguments {
    /// A policy's file, with its signature beside it
    file: PathBuf,
    /// A public key, or a file with one; may be repeated
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// Take the trusted keys of this configuration
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("can't read {path}", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is no secret key of minisign, or its password is another (--password-file): {reason}", path = path.display())]
    Key { path: PathBuf, reason: String },
    #[error("signing: {0}")]
    Signing(String),
    #[error("{path}: {source}", path = path.display())]
    Signature { path: PathBuf, source: SignatureError },
    #[error("{config} has no [policies] trusted_keys", config = .0.display())]
    NoKeys(PathBuf),
}

fn read(path: &Path) -> Result<Vec<u8>, SignError> {
    std::fs::read(path).map_err(|source| SignError::Unreadable { path: path.to_owned(), source })
}

fn read_text(path: &Path) -> Result<String, SignError> {
    std::fs::read_to_string(path).map_err(|source| SignError::Unreadable { path: path.to_owned(), source })
}

fn signature_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    name.into()
}

/// Signs an artefact.
pub fn sign(arguments: &SignArguments, output: &mut Output) -> Result<(), CommandError> {
    let bytes = read(&arguments.file)?;
    let artefact = Artefact::read(&bytes)?;
    let password = match &arguments.password_file {
        Some(path) => Zeroizing::new(read_text(path)?.lines().next().unwrap_or_default().to_owned()),
        None => Zeroizing::default(),
    };
    let wrong =
        |reason: minisign::PError| SignError::Key { path: arguments.key.clone(), reason: reason.to_string() };
    let text = Zeroizing::new(read_text(&arguments.key)?);
    let text = with_checksum(&text).unwrap_or(text);
    // The key keeps its own copy of the password only while it is unlocked.
    let key = SecretKeyBox::from_string(&text)
        .and_then(|key| match has_no_password(&text) {
            true => key.into_unencrypted_secret_key(),
            false => key.into_secret_key(Some(password.to_string())),
        })
        .map_err(wrong)?;
    let digest = artefact_digest(&bytes);
    let title = artefact.manifest.map_or_else(String::new, |it| format!(" {} {}", it.name, it.version));
    let comment = format!("holdfast policy{title} sha256:{digest}");
    let signed = minisign::sign(None, &key, bytes.as_slice(), Some(&comment), None);
    let signature = signed.map_err(|error| SignError::Signing(error.to_string()))?.into_string();
    let path = signature_file(&arguments.file);
    new_file::write(&path, signature.as_bytes(), Mode::Public)?;
    output.line(format_args!("{}  signed by key {}", path.display(), signer(&signature)?))?;
    Ok(())
}

/// Whether a key is in its file as it is. Of what is no key, minisign says so.
fn has_no_password(text: &str) -> bool {
    key_bytes(text).is_some_and(|(_, bytes)| bytes.get(2..4) == Some(&[0, 0]))
}

/// A key's file: its comment, and what the line below it holds.
fn key_bytes(text: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (comment, line) = text.trim_end().split_once('\n')?;
    Some((comment, Zeroizing::new(STANDARD.decode(line.trim()).ok()?)))
}

/// A key without password as minisign itself writes it (`minisign -G -W`), with the checksum that it leaves empty and the
/// library insists on. `None` for any other key.
fn with_checksum(text: &str) -> Option<Zeroizing<String>> {
    // The algorithms of signature, password and checksum, two bytes each; salt and costs of the password; then the key's
    // number, the key, and the BLAKE2b-256 of algorithm, number and key (minisign's documentation, "Secret key format").
    const KEY: std::ops::Range<usize> = 54..126;
    const CHECKSUM: std::ops::Range<usize> = 126..158;
    let (comment, mut bytes) = key_bytes(text)?;
    if bytes.len() != CHECKSUM.end
        || bytes.get(2..4)? != [0, 0]
        || bytes.get(CHECKSUM)?.iter().any(|byte| *byte != 0)
    {
        return None;
    }
    let checksum =
        Blake2b::<U32>::new().chain_update(bytes.get(..2)?).chain_update(bytes.get(KEY)?).finalize();
    bytes.get_mut(CHECKSUM)?.copy_from_slice(&checksum);
    let line = Zeroizing::new(STANDARD.encode(&bytes));
    Some(Zeroizing::new(format!("{comment}\n{}\n", line.as_str())))
}

#[derive(Serialize)]
struct Verified<'a> {
    file: &'a Path,
    sha256: String,
    signer: String,
}

/// Checks an artefact's signature.
pub fn verify(arguments: &VerifyArguments, output: &mut Output) -> Result<(), CommandError> {
    let keys = keys(arguments)?;
    let bytes = read(&arguments.file)?;
    Artefact::read(&bytes)?;
    let path = signature_file(&arguments.file);
    let signature = read_text(&path)?;
    let signer = keys.verify(&bytes, &signature).map_err(|source| SignError::Signature { path, source })?;
    let verified = Verified { file: &arguments.file, sha256: artefact_digest(&bytes), signer };
    match arguments.json {
        true => output.json(&verified)?,
        false => {
            output.line(format_args!("{}  signed by key {}", verified.file.display(), verified.signer))?;
            output.line(format_args!("sha256 {}", verified.sha256))?;
        }
    }
    Ok(())
}

fn keys(arguments: &VerifyArguments) -> Result<TrustedKeys, CommandError> {
    if let Some(path) = &arguments.config {
        let keys = Config::load(path)?.policies.trusted_keys;
        return match keys.is_empty() {
            true => Err(SignError::NoKeys(path.clone()).into()),
            false => Ok(keys),
        };
    }
    if arguments.key.is_empty() {
        return Err(
            Usage("whose signature counts? Give --key, or a configuration by --config".to_owned()).into()
        );
    }
    let text = |key: &String| match Path::new(key).is_file() {
        true => read_text(Path::new(key)),
        false => Ok(key.clone()),
    };
    let texts = arguments.key.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(TrustedKeys::parse(texts.iter().map(String::as_str))?)
}
