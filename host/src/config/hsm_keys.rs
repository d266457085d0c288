//! What a `[[key_store]]` says about its keys in HSMs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_pkcs11::KeySettings;

use super::hsm::Hsm;
use super::reader::{Entry, Section};
use super::units::text;

/// The `hsm` fields of a `[[key_store]]`.
#[derive(Clone, Debug)]
pub struct HsmKeys {
    /// Names of `[[hsm]]`, one to ten.
    pub hsms: Vec<String>,
    /// Where use counts are kept; `None` for the default beside the configuration.
    pub state: Option<PathBuf>,
    /// What is said about single keys; `None` serves every AES-256 key whose label is a key id.
    pub keys: Option<BTreeMap<String, KeySettings>>,
    /// Whether ciphertexts of AWS's sample proxy are decrypted too.
    pub accept_aws_sample_proxy: bool,
}

/// Most HSMs of a key store: GetHealthStatus lists ten at most.
const MOST: usize = 10;

/// The fields of a key store whose keys are in HSMs; `None` inside where they are in the keystore.
pub fn read_keys(section: &Section<'_>, hsms: &[Hsm], taken: &[String]) -> Option<Option<HsmKeys>> {
    let names = section.get("hsm").map(|entry| names(&entry, hsms, taken));
    let state = section.get("hsm_state").map(|entry| entry.path());
    let keys = section.section("hsm_keys").map(|section| keys(&section));
    let accept = section.get("accept").map(|entry| entry.choice(&[("aws-sample-proxy", true)]));
    let Some(names) = names else {
        for (name, given) in
            [("hsm_state", state.is_some()), ("hsm_keys", keys.is_some()), ("accept", accept.is_some())]
        {
            if given {
                section.problem_with(name, "is only for a key store with `hsm = [...]`");
            }
        }
        return Some(None);
    };
    Some(Some(HsmKeys {
        hsms: names?,
        state: match state {
            None => None,
            Some(read) => Some(read?),
        },
        keys: match keys {
            None => None,
            Some(read) => Some(read?),
        },
        accept_aws_sample_proxy: match accept {
            None => false,
            Some(read) => read?,
        },
    }))
}

fn names(entry: &Entry<'_>, hsms: &[Hsm], taken: &[String]) -> Option<Vec<String>> {
    let items = entry.list()?;
    if !(1..=MOST).contains(&items.len()) {
        entry.problem(format!("has {} HSMs; a key store has 1 to {MOST}", items.len()));
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for item in &items {
        let name = item.text()?;
        if !hsms.iter().any(|hsm| hsm.name == name) {
            item.problem(format!("{name:?} is no [[hsm]] of this file"));
        } else if taken.iter().any(|other| other == name) {
            item.problem(format!("{name:?} serves another key store; give each key store tokens of its own"));
        } else if names.iter().any(|other| other == name) {
            item.problem(format!("{name:?} stands here twice"));
        }
        names.push(name.to_owned());
    }
    Some(names)
}

fn keys(section: &Section<'_>) -> Option<BTreeMap<String, KeySettings>> {
    let mut keys = BTreeMap::new();
    for (id, entry) in section.entries() {
        let id = match id.parse::<holdfast_keystore::KeyId>() {
            Ok(id) => id.as_str().to_owned(),
            Err(error) => {
                entry.problem(error.to_string());
                return None;
            }
        };
        let section = entry.section()?;
        let label = section.get("label").map(|entry| entry.parsed(text));
        let disabled = section.get("disabled").map_or(Some(false), |entry| entry.boolean());
        let retired = section.get("retired").map_or(Some(Vec::new()), |entry| {
            let items = entry.list()?;
            items.iter().map(|item| u32::try_from(item.integer(1..=u64::from(u32::MAX))?).ok()).collect()
        });
        section.finish();
        let label = match label {
            None => None,
            Some(read) => Some(read?),
        };
        keys.insert(id, KeySettings { label, disabled: disabled?, retired: retired? });
    }
    Some(keys)
}
