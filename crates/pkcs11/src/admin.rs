//! What an operator does with an HSM at a terminal: look, measure, make keys. It calls the module in this process, and waits.

use crate::catalog::{label_of, split_label};
use crate::fault::Fault;
use crate::ivs::Ivs;
use crate::module::{
    GcmKey, KeyAttributes, KeyTemplate, MechanismInfo, Module, ModuleError, SessionHandle, SlotId, TokenInfo,
};
use crate::quirks::IvSource;
use crate::request::Iv;
use crate::rv::CallError;
use crate::settings::HsmSettings;
use crate::token::{Token, TokenSettings};
use cryptoki_sys::{CKM_AES_GCM, CKR_MECHANISM_INVALID};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why something can't be done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The module can't be used.
    #[error("{0}")]
    Module(#[from] ModuleError),
    /// A function failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The token can't be used.
    #[error("{0}")]
    Token(String),
    /// The PIN can't be read.
    #[error("the PIN can't be read: {0}")]
    Pin(String),
    /// The label is taken.
    #[error("the token has a key '{0}' already")]
    Exists(String),
    /// There is no such key.
    #[error("the token has no AES-256 key '{0}'")]
    Missing(String),
    /// A version without the one before it.
    #[error("the token has no key '{before}': make that first, so that '{label}' is the version after it")]
    Gap {
        /// The version that was asked for.
        label: String,
        /// The one before it.
        before: String,
    },
    /// A label that can't be a key's.
    #[error("'{0}' can't be the name of a key: 1 to 128 of A-Z a-z 0-9 - . _")]
    Name(String),
}

impl From<Fault> for AdminError {
    fn from(fault: Fault) -> AdminError {
        match fault {
            Fault::Call(error) => AdminError::Call(error),
            fault => AdminError::Token(fault.to_string()),
        }
    }
}

/// A slot with a token.
#[derive(Clone, Debug)]
pub struct SlotDescription {
    /// Its number. It changes; tokens are named by label or serial number.
    pub slot: u64,
    /// The token.
    pub token: TokenInfo,
    /// AES-GCM on it, if it has that.
    pub aes_gcm: Option<MechanismInfo>,
}

/// The tokens that a module shows. `again`: it was asked before, and is initialised anew, as the environment is another. Nobody
/// logs in.
pub fn slots(module: &Path, thread_safe: bool, again: bool) -> Result<Vec<SlotDescription>, AdminError> {
    let module = Module::load(module, thread_safe)?;
    if again {
        module.enlist();
        let anew = module.restart_if_alone(|| ());
        module.leave();
        anew?;
    }
    let describe = |slot: SlotId| {
        let token = module.token_info(slot)?;
        Ok(SlotDescription { slot, token, aes_gcm: module.aes_gcm_info(slot, CKM_AES_GCM).ok() })
    };
    module.slots()?.into_iter().map(describe).collect()
}

/// What is wrong with how a key is kept. Empty if nothing.
pub fn warnings(key: &KeyAttributes) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if !key.sensitive {
        warnings.push("it is not sensitive: its value can be read");
    }
    if key.extractable {
        warnings.push("it is extractable: it can leave the HSM, wrapped by another key");
    }
    warnings
}

/// What an operation takes, in a loop of one thread with a cached handle.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// An encryption of 32 bytes.
    pub encrypt: Duration,
    /// A decryption of that.
    pub decrypt: Duration,
}

/// A token that was logged in to.
pub struct Console {
    token: Token,
    module: Arc<Module>,
    info: TokenInfo,
    slot: SlotId,
    session: SessionHandle,
}

impl Console {
    /// Finds the token and logs in, by the same rules as the proxy: a PIN that was refused isn't tried again.
    pub fn open(hsm: &HsmSettings, pin_folder: &Path) -> Result<Console, AdminError> {
        let pin = (hsm.pin)().map_err(AdminError::Pin)?;
        let settings = TokenSettings::of(hsm, pin_folder.to_owned());
        let token = Token::new(TokenSettings { create_test_key: false, ..settings })?;
        let info = token.connect(pin, false, false)?;
        let slot = token.slot()?;
        let module = Arc::clone(token.module());
        let session = module.open_session(slot, true)?;
        Ok(Console { token, module, info, slot, session })
    }

    /// The token.
    pub fn token(&self) -> &TokenInfo {
        &self.info
    }

    /// Its mechanisms, by number.
    pub fn mechanisms(&self) -> Result<Vec<u64>, AdminError> {
        Ok(self.module.mechanisms(self.slot)?)
    }

    /// What it says about AES-GCM, by the number that is configured.
    pub fn aes_gcm(&self) -> Result<MechanismInfo, AdminError> {
        match self.module.aes_gcm_info(self.slot, self.token.quirks().mechanism) {
            // It hasn't it.
            Err(error) if error.code == CKR_MECHANISM_INVALID => Ok(MechanismInfo::default()),
            info => Ok(info?),
        }
    }

    /// Whether the module has the message functions of PKCS#11 3.0.
    pub fn has_message_functions(&self) -> bool {
        self.module.has_message_functions()
    }

    /// Its AES-256 keys, by label.
    pub fn keys(&self) -> Result<Vec<KeyAttributes>, AdminError> {
        let listing = self.token.list_keys(self.session)?;
        if let Some(why) = listing.unreadable.first() {
            tracing::warn!(
                count = listing.unreadable.len(),
                first = why,
                "objects on the token can't be read"
            );
        }
        let mut keys = listing.keys;
        keys.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(keys)
    }

    /// Makes an AES-256 key: sensitive, not extractable.
    pub fn create_key(&self, label: &str, encrypt: bool, decrypt: bool) -> Result<(), AdminError> {
        let (name, number) = split_label(label);
        if !crate::catalog::is_key_id(name) {
            return Err(AdminError::Name(label.to_owned()));
        }
        if !self.module.find_aes_keys(self.session, Some(label))?.is_empty() {
            return Err(AdminError::Exists(label.to_owned()));
        }
        if number > 1 {
            let before = label_of(name, number - 1);
            if self.module.find_aes_keys(self.session, Some(&before))?.is_empty() {
                return Err(AdminError::Gap { label: label.to_owned(), before });
            }
        }
        self.module.create_aes_key(self.session, &KeyTemplate { label, encrypt, decrypt })?;
        Ok(())
    }

    /// Makes the next version of a key, with the usage of its newest, and gives its number. It encrypts as soon as every HSM
    /// of the fleet has it.
    pub fn rotate(&self, name: &str) -> Result<u32, AdminError> {
        let keys = self.keys()?;
        let versions = keys.iter().filter_map(|key| {
            let (of, number) = split_label(&key.label);
            (of == name).then_some((number, key))
        });
        let (newest, key) =
            versions.max_by_key(|(number, _)| *number).ok_or(AdminError::Missing(name.to_owned()))?;
        self.create_key(&label_of(name, newest + 1), key.encrypt, key.decrypt)?;
        Ok(newest + 1)
    }

    /// Measures a key by its label; `progress` is told how many of `rounds` are done. The encryptions aren't counted as
    /// uses: take the test key.
    pub fn measure(
        &self,
        hsm: &HsmSettings,
        label: &str,
        rounds: u32,
        mut progress: impl FnMut(u32),
    ) -> Result<Speed, AdminError> {
        let key = self.module.find_aes_keys(self.session, Some(label))?;
        let key = match key.as_slice() {
            [] => return Err(AdminError::Missing(label.to_owned())),
            [key] => *key,
            _ => return Err(Fault::AmbiguousLabel.into()),
        };
        let key = GcmKey { module: &self.module, session: self.session, key, quirks: &hsm.quirks };
        let (mut encrypt, mut decrypt) = (Duration::ZERO, Duration::ZERO);
        let ivs = Ivs::default();
        for round in 0..rounds {
            let mut iv = Iv::random().map_err(|error| AdminError::Token(error.to_string()))?;
            let began = Instant::now();
            let sealed = key.encrypt(&mut iv, b"probe", &[0x5a; 32]).map_err(Fault::from)?;
            encrypt += began.elapsed();
            if hsm.quirks.iv != IvSource::Host {
                ivs.judge(&iv)?;
            }
            let began = Instant::now();
            key.decrypt(&iv, b"probe", &sealed).map_err(Fault::from)?;
            decrypt += began.elapsed();
            progress(round + 1);
        }
        let rounds = rounds.max(1);
        Ok(Speed { encrypt: encrypt / rounds, decrypt: decrypt / rounds })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The process ends soon, and its sessions with it.
        let _ = self.module.close_session(self.session);
    }
}
