//! `[keystore]`: the sealed file and what opens it.

use std::path::{Path, PathBuf};

use super::hsm::Hsm;
use super::reader::Section;
use super::seal::{HsmSeal, SealSource};
use super::secret::{credential, variable};

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
