//! `[keystore]`: the sealed file and what opens it.

use std::path::PathBuf;

use super::reader::Section;

/// `[keystore]`.
#[derive(Clone, Debug)]
pub struct Keystore {
    /// The sealed file.
    pub path: PathBuf,
    /// Where the secret that opens it comes from.
    pub seal: SealSource,
}

/// Where the secret of a keystore's seal comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SealSource {
    /// A file of random bytes.
    KeyFile(PathBuf),
    /// A file whose first line is the passphrase.
    PassphraseFile(PathBuf),
    /// An environment variable that holds the passphrase.
    PassphraseEnv(String),
    /// The name of a systemd credential (`LoadCredential=` or `LoadCredentialEncrypted=`) that holds the key.
    SystemdCredential(String),
}

const SEALS: &str = "one of key_file, passphrase_file, passphrase_env, systemd_credential";

pub fn read(section: Section<'_>) -> Option<Keystore> {
    let path = section.need("path").and_then(|entry| entry.path());
    let seal = match section.has("seal") {
        true => section.section("seal").and_then(seal),
        false => {
            section.problem_with(
                "seal",
                format!("is missing; give {SEALS}, such as {{ key_file = \"keystore.seal\" }}"),
            );
            None
        }
    };
    // `seal` is known even where it is missing.
    section.get("seal");
    section.finish();
    Some(Keystore { path: path?, seal: seal? })
}

fn seal(section: Section<'_>) -> Option<SealSource> {
    let given: Vec<Option<SealSource>> = [
        section.get("key_file").map(|entry| entry.path().map(SealSource::KeyFile)),
        section.get("passphrase_file").map(|entry| entry.path().map(SealSource::PassphraseFile)),
        section.get("passphrase_env").map(|entry| entry.parsed(variable).map(SealSource::PassphraseEnv)),
        section
            .get("systemd_credential")
            .map(|entry| entry.parsed(credential).map(SealSource::SystemdCredential)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let seal = match <[_; 1]>::try_from(given) {
        Ok([seal]) => seal,
        Err(given) => {
            section.problem(format!("has {} of its fields; exactly {SEALS} is needed", given.len()));
            None
        }
    };
    section.finish();
    seal
}

pub(super) fn variable(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty()
        && text.bytes().all(allowed)
        && !text.starts_with(|first: char| first.is_ascii_digit())
    {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} isn't the name of an environment variable (letters, digits and _)"))
}

/// systemd takes any file name here, but never a path.
pub(super) fn credential(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.contains(['/', '\0']) || text == "." || text == ".." {
        return Err(format!(
            "{text:?} isn't the name of a systemd credential (a file name without a folder)"
        ));
    }
    Ok(text.to_owned())
}
