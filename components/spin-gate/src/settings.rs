//! What the gate is told: texts that a host's variables hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_gate::Counter;
use holdfast_gate::strict::{self, Object, Value};
use holdfast_gate::target::is_uri_path_prefix;
use holdfast_keystore::{Contents, OpenError, Seal, SealError};
use zeroize::{Zeroize, Zeroizing};

use crate::store::{Home, KeyStore};

/// As received; `holdfast spin-env` makes them.
pub struct Settings {
    /// The sealed keystore, in base64.
    pub keystore: String,
    /// What opens it: 64 hexadecimal digits.
    pub seal_key: Zeroizing<String>,
    /// The key stores, a JSON object.
    pub key_stores: String,
    /// The policy's document, a JSON object; empty where it is inside the policy's component.
    pub policy_document: String,
}

/// The names and texts of a policy's files.
pub type Document = Vec<(String, String)>;

/// Why settings can't be used. Says which one, and nothing of its value.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable has no value.
    #[error("the variable {0} is empty; `holdfast spin-env` makes it")]
    Empty(&'static str),
    /// Not base64.
    #[error("the variable holdfast_keystore is no base64; `holdfast spin-env` makes it")]
    Base64,
    /// Not a seal.
    #[error("the variable holdfast_seal_key: {0}")]
    Seal(SealError),
    /// The two don't belong together, or the keystore is damaged.
    #[error("the variable holdfast_keystore, opened with holdfast_seal_key: {0}")]
    Open(OpenError),
    /// Not JSON, or not of the form.
    #[error("the variable holdfast_key_stores: {0}")]
    KeyStores(String),
    /// Not JSON, or not of the form.
    #[error("the variable holdfast_policy_document: {0}")]
    Document(String),
}

impl Settings {
    /// Opens the keystore and reads the key stores. `salt` is random.
    pub fn read(&self, salt: [u64; 2]) -> Result<Home, SettingsError> {
        for (name, value) in [
            ("holdfast_keystore", self.keystore.as_str()),
            ("holdfast_seal_key", self.seal_key.as_str()),
            ("holdfast_key_stores", self.key_stores.as_str()),
        ] {
            if value.trim().is_empty() {
                return Err(SettingsError::Empty(name));
            }
        }
        let sealed = STANDARD.decode(self.keystore.trim()).map_err(|_| SettingsError::Base64)?;
        let seal = Seal::key_file(self.seal_key.trim().as_bytes()).map_err(SettingsError::Seal)?;
        let opened = holdfast_keystore::sealed::open(&sealed, &seal).map_err(SettingsError::Open)?;
        let stores =
            key_stores(&self.key_stores, &opened.contents, salt).map_err(SettingsError::KeyStores)?;
        Ok(Home::new(opened.contents, stores))
    }

    /// What the policy is to be configured with.
    pub fn document(&self) -> Result<Option<Document>, SettingsError> {
        match self.policy_document.trim() {
            "" => Ok(None),
            text => document(text).map(Some).map_err(SettingsError::Document),
        }
    }
}

fn object(text: &str) -> Result<Object<'_>, String> {
    strict::object(text.as_bytes()).map_err(|fault| fault.to_string().replace("the body", "it"))
}

fn document(text: &str) -> Result<Document, String> {
    let object = object(text)?;
    let files = object.iter().map(|(name, text)| {
        let text = text.as_text().ok_or_else(|| format!("{name} must be the text of a file"))?;
        Ok((name.to_string(), text.to_owned()))
    });
    files.collect()
}

fn key_stores(text: &str, contents: &Contents, salt: [u64; 2]) -> Result<Vec<KeyStore>, String> {
    let object = object(text)?;
    let mut stores: Vec<KeyStore> = Vec::new();
    for (name, value) in &object {
        let Value::Object(members) = value else { return Err(format!("{name} must be an object")) };
        let wrong = |what: &str| format!("{name}: {what}");
        if contents.key_store(name).is_none() {
            return Err(wrong("the keystore has no key store of this name"));
        }
        let prefix = strict::get(members, "uriPathPrefix").and_then(Value::as_text);
        let prefix = prefix.filter(|prefix| is_uri_path_prefix(prefix));
        let prefix = prefix.ok_or_else(|| wrong("uriPathPrefix must be empty or like /demo"))?;
        if stores.iter().any(|store| store.uri_path_prefix == prefix) {
            return Err(wrong("another key store has this uriPathPrefix"));
        }
        let Some(Value::Array(regions)) = strict::get(members, "regions") else {
            return Err(wrong("regions must be an array of names, such as [\"us-east-1\"]"));
        };
        let regions: Option<Vec<String>> =
            regions.iter().map(|region| region.as_text().map(str::to_owned)).collect();
        let regions = regions
            .filter(|regions| !regions.is_empty())
            .ok_or_else(|| wrong("regions must name at least one region"))?;
        let fleet_size = match strict::get(members, "fleetSize") {
            None => Some(1),
            Some(Value::Number(number)) => {
                number.as_u64().and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0)
            }
            Some(_) => None,
        };
        let fleet_size = fleet_size.ok_or_else(|| wrong("fleetSize must be a number over 0"))?;
        let known = |name: &str| matches!(name, "uriPathPrefix" | "regions" | "fleetSize");
        if let Some((other, _)) = members.iter().find(|(member, _)| !known(member)) {
            return Err(wrong(&format!("there is no setting {other}")));
        }
        stores.push(KeyStore {
            name: name.to_string(),
            uri_path_prefix: prefix.to_owned(),
            regions,
            fleet_size,
            counter: Counter::salted(salt),
        });
    }
    if stores.is_empty() {
        return Err("it names no key store".to_owned());
    }
    Ok(stores)
}

impl Drop for Settings {
    fn drop(&mut self) {
        self.keystore.zeroize();
    }
}
