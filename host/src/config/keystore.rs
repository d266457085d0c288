//! `[keystore]`: the sealed file and what opens it.

use std::path::{Path, PathBuf};

use super::hsm::Hsm;
use super::reader::Section;
use super::seal::HsmSeal;

/// `[keystore]`.
#[derive(Clone, Debug)]
pub struct Keystore {
    /// The sealed file.
    pub path: PathBuf,
    /// Where the secret that opens it comes from.
    pub seal: SealSource,
}

impl Keystore {
    /// Where HSMs' refused PINs are kept, for all who log in to one: key stores, the seal, commands. A configuration has one
    /// keystore, so nobody has another folder, whatever an HSM is called and serves.
    pub fn pin_folder(&self) -> PathBuf {
        pin_folder(&self.path)
    }
}

fn pin_folder(keystore: &Path) -> PathBuf {
    keystore.parent().unwrap_or(Path::new("")).join("hsm-pins")
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
    /// A key in an HSM.
    Hsm(Box<HsmSeal>),
}

const SEALS: &str = "one of key_file, passphrase_file, passphrase_env, systemd_credential, hsm";
/// The label of an HSM's key that seals, where none is given.
pub const SEAL_KEY: &str = "holdfast-seal";

pub fn read(section: Section<'_>, hsms: &[Hsm]) -> Option<Keystore> {
    let path = section.need("path").and_then(|entry| entry.path());
    let seal = match section.has("seal") {
        true => section.section("seal").and_then(|section| {
            let pins = path.as_deref().map(pin_folder).unwrap_or_default();
            seal(section, hsms, &pins)
        }),
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

fn seal(section: Section<'_>, hsms: &[Hsm], pins: &Path) -> Option<SealSource> {
    let key = section.get("hsm_key").map_or(Some(SEAL_KEY.to_owned()), |entry| entry.parsed(label));
    let by_hsm = section.get("hsm").map(|entry| {
        let name = entry.text()?;
        let Some(hsm) = hsms.iter().find(|hsm| hsm.name == name) else {
            entry.problem(format!("{name:?} is no [[hsm]] of this file"));
            return None;
        };
        let seal = HsmSeal { hsm: hsm.clone(), key: key.clone()?, pin_folder: pins.to_owned() };
        Some(SealSource::Hsm(Box::new(seal)))
    });
    if section.has("hsm_key") && by_hsm.is_none() {
        section.problem_with("hsm_key", "is only for a seal with `hsm = \"...\"`");
    }
    let given: Vec<Option<SealSource>> = [
        section.get("key_file").map(|entry| entry.path().map(SealSource::KeyFile)),
        section.get("passphrase_file").map(|entry| entry.path().map(SealSource::PassphraseFile)),
        section.get("passphrase_env").map(|entry| entry.parsed(variable).map(SealSource::PassphraseEnv)),
        section
            .get("systemd_credential")
            .map(|entry| entry.parsed(credential).map(SealSource::SystemdCredential)),
        by_hsm,
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

fn label(text: &str) -> Result<String, holdfast_keystore::NameError> {
    text.parse::<holdfast_keystore::KeyId>().map(|label| label.as_str().to_owned())
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
