//! The HSMs of a key store, put together of what several parts of the configuration say.

use std::path::{Path, PathBuf};

use holdfast_pkcs11::FleetSettings;

use super::Config;
use super::hsm::Hsm;
use super::hsm_keys::HsmKeys;
use super::key_store::KeyStore;
use super::seal::SealSource;

impl Config {
    /// The fleet of a key store whose keys are in HSMs.
    pub fn fleet(&self, store: &KeyStore, keys: &HsmKeys) -> FleetSettings {
        let hsms = keys.hsms.iter().filter_map(|name| self.hsms.iter().find(|hsm| hsm.name == *name));
        // Requests must not reach the key that seals the keystore, which may be on the same token.
        let hidden = match &self.keystore.seal {
            SealSource::Hsm(seal) => vec![seal.key.clone()],
            _ => Vec::new(),
        };
        FleetSettings {
            keys: keys.keys.clone(),
            hidden,
            pin_folder: self.keystore.pin_folder(),
            accept_aws_sample_proxy: keys.accept_aws_sample_proxy,
            ..FleetSettings::new(hsms.map(Hsm::settings).collect(), state_folder(&self.file, store, keys))
        }
    }
}

/// Where use counts of a key store are kept.
fn state_folder(file: &Path, store: &KeyStore, keys: &HsmKeys) -> PathBuf {
    let beside = || file.parent().unwrap_or(Path::new("")).join("hsm-state").join(store.name.as_str());
    keys.state.clone().unwrap_or_else(beside)
}
