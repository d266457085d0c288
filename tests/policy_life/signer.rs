//! Who signs policies, and hosts that trust them.

use std::path::PathBuf;

use holdfast_tests::Setup;
use minisign::KeyPair;
use toml::Table;

use crate::artefact::Artefact;
use crate::room::setup;

/// A key of minisign.
pub struct Signer {
    pair: KeyPair,
    pub public: String,
}

impl Signer {
    pub fn new() -> Signer {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let public = pair.pk.to_base64();
        Signer { pair, public }
    }

    /// The content of a `.minisig` file.
    pub fn signature(&self, artefact: &Artefact) -> String {
        let file = std::fs::File::open(&artefact.file).unwrap();
        minisign::sign(None, &self.pair.sk, file, None, None).unwrap().into_string()
    }

    /// Makes the file beside the artefact.
    pub fn sign(&self, artefact: &Artefact) {
        std::fs::write(signature_file(artefact), self.signature(artefact)).unwrap();
    }
}

pub fn signature_file(artefact: &Artefact) -> PathBuf {
    let mut file = artefact.file.clone().into_os_string();
    file.push(".minisig");
    file.into()
}

/// `[policies]` of a configuration that trusts these and no unsigned policies.
pub fn policies(signers: &[&Signer]) -> Table {
    let keys: Vec<&str> = signers.iter().map(|signer| signer.public.as_str()).collect();
    let mut policies = Table::new();
    policies.insert("trusted_keys".into(), keys.into());
    policies
}

/// A host that takes policies of these only.
pub fn trusting(signers: &[&Signer]) -> Setup {
    let policies = policies(signers);
    setup().config(|config, _| {
        config.insert("policies".into(), policies.into());
    })
}
