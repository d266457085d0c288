//! The keystore's seal by a key in an HSM.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdfast_keystore::{HsmKey, HsmKeyError};
use holdfast_pkcs11::{
    BackendError, Fleet, FleetSettings, HsmSettings, Isolation, KeySettings, Sealed, Status, wait,
};
use holdfast_secret::Secret;

use crate::config::hsm::Hsm;

/// The first byte of the seal's parameters.
const FORM: u8 = 1;
/// Not the additional data of any request: those begin with their length, or are a hash of 32 bytes.
const AAD: &[u8] = b"holdfast keystore 1: hsm root";
const ROOT_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// For an HSM to be connected to.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// For one call.
const CALL_TIME: Duration = Duration::from_secs(5);
/// The key's id within the fleet of one that asks for it.
const ID: &str = "seal";

/// A key in an HSM that seals a keystore. Each use is a worker process of its own, which logs in, does one call and ends:
/// vendor code never comes into the process that holds the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HsmSeal {
    /// Which HSM.
    pub hsm: Hsm,
    /// The label of the key.
    pub key: String,
    /// Where the HSM's refused PINs are kept.
    pub pin_folder: PathBuf,
}

/// What the seal's parameters say.
struct Wrapped<'a> {
    key: &'a [u8],
    metadata: &'a [u8],
    iv: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl HsmSeal {
    fn unavailable(&self, why: impl std::fmt::Display) -> HsmKeyError {
        HsmKeyError::Unavailable(format!("{}: {why}", self.hsm.name))
    }

    /// The HSM, connected and with the key on it.
    fn connect(&self) -> Result<Fleet, HsmKeyError> {
        let hsm = HsmSettings {
            sessions: 1,
            isolation: Isolation::Process,
            test_key: None,
            create_test_key: false,
            ..self.hsm.settings()
        };
        let key = KeySettings { label: Some(self.key.clone()), ..KeySettings::default() };
        let settings = FleetSettings {
            keys: Some(BTreeMap::from([(ID.to_owned(), key)])),
            pin_folder: self.pin_folder.clone(),
            // It encrypts once for each reseal: there is nothing to count.
            warn_after: u64::MAX,
            refuse_after: u64::MAX,
            ..FleetSettings::new(vec![hsm], self.pin_folder.join("keystore-seal"))
        };
        let fleet = Fleet::start(settings).map_err(|error| self.unavailable(error))?;
        fleet.wait_for_first_checks(CONNECT_TIME);
        let health = fleet.health();
        match health.first().map(|health| &health.status) {
            Some(Status::Unavailable(why)) => Err(self.unavailable(why)),
            _ => Ok(fleet),
        }
    }

    fn failed(&self, error: BackendError) -> HsmKeyError {
        let (hsm, key) = (&self.hsm.name, &self.key);
        match error {
            BackendError::KeyNotFound => HsmKeyError::OtherKey(format!(
                "HSM {hsm} has no AES-256 key {key}; is it the right token? \
                 For a new seal, `holdfast hsm create-key {key} --hsm {hsm}` makes it"
            )),
            BackendError::InvalidCiphertext => HsmKeyError::OtherKey(format!(
                "HSM {hsm} has another key {key} than the one that sealed; is it the right token?"
            )),
            BackendError::Usage => {
                self.unavailable(format!("its key {key} must be allowed to encrypt and to decrypt"))
            }
            error => self.unavailable(error),
        }
    }
}

impl HsmKey for HsmSeal {
    fn wrap(&self, root: &Secret) -> Result<Vec<u8>, HsmKeyError> {
        let fleet = self.connect()?;
        let deadline = Instant::now() + CALL_TIME;
        let made = wait(fleet.encrypt(ID, root.expose(), |_| AAD.to_vec(), false, deadline));
        let made = made.map_err(|error| self.failed(error))?;
        let mut out = vec![FORM];
        for part in [self.key.as_bytes(), &made.metadata, &made.iv] {
            // Labels have at most 128 bytes, the others less.
            out.push(u8::try_from(part.len()).map_err(|_| HsmKeyError::Wrong)?);
            out.extend_from_slice(part);
        }
        out.extend_from_slice(&made.ciphertext);
        out.extend_from_slice(&made.tag);
        Ok(out)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, HsmKeyError> {
        let damaged = || HsmKeyError::OtherKey("the file's seal is in a form that isn't known here".into());
        let Wrapped { key, metadata, iv, ciphertext, tag } = parse(wrapped).ok_or_else(damaged)?;
        if key != self.key.as_bytes() {
            return Err(HsmKeyError::OtherKey(format!(
                "the keystore was sealed by the key {:?}, and keystore.seal names {:?}",
                String::from_utf8_lossy(key),
                self.key
            )));
        }
        let fleet = self.connect()?;
        let sealed = Sealed { ciphertext, iv, tag, metadata };
        let deadline = Instant::now() + CALL_TIME;
        let opened =
            wait(fleet.decrypt(ID, sealed, AAD, AAD, deadline)).map_err(|error| self.failed(error))?;
        Ok(Secret::copy_from(&opened.plaintext))
    }
}

fn parse(bytes: &[u8]) -> Option<Wrapped<'_>> {
    let (form, rest) = bytes.split_first()?;
    let (key, rest) = short(rest)?;
    let (metadata, rest) = short(rest)?;
    let (iv, rest) = short(rest)?;
    let (ciphertext, tag) = rest.split_at_checked(ROOT_LEN)?;
    (*form == FORM && tag.len() == TAG_LEN && matches!(iv.len(), 12 | 16)).then_some(Wrapped {
        key,
        metadata,
        iv,
        ciphertext,
        tag,
    })
}

fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}
