//! One token in the process that has the module: found, logged in to, its keys' handles cached.

use crate::descriptions::Listing;
use crate::fault::Fault;
use crate::module::{KeyAttributes, KeyTemplate, Module, ObjectHandle, SessionHandle, SlotId, TokenInfo};
use crate::quirks::Quirks;
use crate::rv::Repair;
use crate::settings::{HsmSettings, TokenSelector};
use cryptoki_sys::*;
use holdfast_secret::Secret;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

mod keys;
mod login;

/// What is needed to reach a token. It crosses to a worker process; the PIN goes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The module's path.
    pub module: PathBuf,
    /// Which token.
    pub selector: TokenSelector,
    /// What it does in its own way.
    pub quirks: Quirks,
    /// The label of the key for health checks.
    pub test_key: Option<String>,
    /// Whether to make it.
    pub create_test_key: bool,
    /// Where refused PINs are kept: a file for each token.
    pub pin_folder: PathBuf,
}

impl TokenSettings {
    pub(crate) fn of(hsm: &HsmSettings, pin_folder: PathBuf) -> TokenSettings {
        TokenSettings {
            module: hsm.module.clone(),
            selector: hsm.token.clone(),
            quirks: hsm.quirks,
            test_key: hsm.test_key.clone(),
            create_test_key: hsm.create_test_key,
            pin_folder,
        }
    }
}

/// A token that is or was connected.
pub struct Token {
    settings: TokenSettings,
    module: Arc<Module>,
    state: RwLock<State>,
    keys: RwLock<HashMap<Arc<str>, Known>>,
    /// The workers' open sessions.
    sessions: Mutex<HashMap<SessionHandle, Open>>,
    /// One at a time connects or logs in.
    connecting: Mutex<()>,
    pin: Mutex<Option<Secret>>,
    /// Whether the token accepted this PIN before.
    proven: AtomicBool,
}

/// A key whose handle is known.
#[derive(Clone)]
struct Known {
    handle: ObjectHandle,
    check_value: Vec<u8>,
    looked: Instant,
}

impl Known {
    /// Whether this is of the same key.
    fn is(&self, now: &KeyAttributes) -> bool {
        self.check_value == now.check_value
    }

    /// Whether this can be the key with the check value that was known of it.
    fn may_be(&self, check_value: &[u8]) -> bool {
        check_value.is_empty() || self.check_value.is_empty() || *self.check_value == *check_value
    }
}

/// Sessions belong to an epoch; a new one begins when the token is found anew or logged in to anew.
#[derive(Clone, Copy, Default)]
struct State {
    epoch: u64,
    slot: Option<SlotId>,
    /// Holds the login while the workers' sessions come and go.
    anchor: Option<SessionHandle>,
    /// Whether there is a login that sessions tell of: some tokens need none.
    has_login: bool,
}

/// A worker's session.
struct Open {
    epoch: u64,
    /// Whether the worker is inside the module with it, or may be.
    at_work: Arc<AtomicBool>,
}

impl Token {
    /// Loads the module. The token is looked for by [`Token::connect`].
    pub fn new(settings: TokenSettings) -> Result<Token, Fault> {
        let module = Module::load(&settings.module, settings.quirks.thread_safe)?;
        module.enlist();
        Ok(Token {
            settings,
            module,
            state: RwLock::default(),
            keys: RwLock::default(),
            sessions: Mutex::default(),
            connecting: Mutex::new(()),
            pin: Mutex::new(None),
            proven: AtomicBool::new(false),
        })
    }

    pub(crate) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(crate) fn quirks(&self) -> &Quirks {
        &self.settings.quirks
    }

    pub(crate) fn test_key(&self) -> Option<&str> {
        self.settings.test_key.as_deref()
    }

    /// Finds the token, logs in and makes the test key if that is wanted. Sessions of before end, but for those with a call
    /// inside the module: their workers close them when they come back. `may_restart`: no
    /// call is inside, so that the module may be initialised anew if it doesn't show the token and serves no other.
    /// `proven`: the token accepted this PIN before.
    pub fn connect(&self, pin: Secret, proven: bool, may_restart: bool) -> Result<TokenInfo, Fault> {
        let _connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        *self.pin.lock().unwrap_or_else(PoisonError::into_inner) = Some(pin);
        self.proven.store(proven, Ordering::Release);
        let (slot, info) = match self.find_slot() {
            Err(fault) if may_restart => match self.module.restart_if_alone(|| self.disconnect())? {
                true => self.find_slot()?,
                false => return Err(fault),
            },
            found => found?,
        };
        self.disconnect();
        self.keys.write().unwrap_or_else(PoisonError::into_inner).clear();
        let anchor = self.module.open_session(slot, self.settings.create_test_key)?;
        let logged_in = self.log_in(anchor, slot).and_then(|()| self.ensure_test_key(anchor));
        if let Err(fault) = logged_in {
            // What matters is why the login failed.
            let _ = self.module.close_session(anchor);
            return Err(fault);
        }
        // A module that doesn't see its own login can't tell when it is gone.
        let has_login = info.needs_login() && matches!(self.module.is_logged_in(anchor), Ok(true));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = state.epoch + 1;
        *state = State { epoch, slot: Some(slot), anchor: Some(anchor), has_login };
        Ok(info)
    }

    /// Closes what nobody works with. Not by C_CloseAllSessions, which would take the session from under a call that hangs,
    /// and from others in this process that use the token.
    fn disconnect(&self) {
        let anchor = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.epoch += 1;
            state.slot = None;
            state.anchor.take()
        };
        // A worker that isn't seen at work here sees the new epoch before it uses its session.
        let idle = |_: &SessionHandle, open: &mut Open| !open.at_work.load(Ordering::Acquire);
        let idle: Vec<_> = self.sessions().extract_if(idle).map(|(session, _)| session).collect();
        for session in idle.into_iter().chain(anchor) {
            // It fails where the token is gone, and the session with it.
            let _ = self.module.close_session(session);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionHandle, Open>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_slot(&self) -> Result<(SlotId, TokenInfo), Fault> {
        let mut found = Vec::new();
        for slot in self.module.slots()? {
            // A slot whose token doesn't answer isn't the one.
            let Ok(info) = self.module.token_info(slot) else { continue };
            let is_it = match &self.settings.selector {
                TokenSelector::Label(label) => info.label == *label,
                TokenSelector::Serial(serial) => info.serial == *serial,
            };
            if is_it && info.is_initialized() {
                found.push((slot, info));
            }
        }
        let (what, name) = match &self.settings.selector {
            TokenSelector::Label(label) => ("label", label),
            TokenSelector::Serial(serial) => ("serial number", serial),
        };
        match found.pop() {
            None => Err(Fault::Token(format!("the module has no token with the {what} '{name}'"))),
            Some(_) if !found.is_empty() => Err(Fault::Token(format!(
                "the module has several tokens with the {what} '{name}'; name it by its serial number"
            ))),
            Some(token) => Ok(token),
        }
    }

    fn ensure_test_key(&self, session: SessionHandle) -> Result<(), Fault> {
        let Some(label) = self.settings.test_key.as_deref().filter(|_| self.settings.create_test_key) else {
            return Ok(());
        };
        if self.module.find_aes_keys(session, Some(label))?.is_empty() {
            self.module.create_aes_key(session, &KeyTemplate { label, encrypt: true, decrypt: true })?;
        }
        Ok(())
    }

    /// The slot where the token was found.
    pub(crate) fn slot(&self) -> Result<SlotId, Fault> {
        let slot = self.state.read().unwrap_or_else(PoisonError::into_inner).slot;
        slot.ok_or_else(|| Fault::Token("the token isn't connected".into()))
    }

    /// The epoch, and a new session of it. `at_work`: whether its worker may be inside the module.
    pub(crate) fn open_session(&self, at_work: &Arc<AtomicBool>) -> Result<(u64, SessionHandle), Fault> {
        let State { epoch, slot, .. } = *self.state.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slot.ok_or_else(|| Fault::Token("the token isn't connected".into()))?;
        let session = self.module.open_session(slot, false)?;
        if let Err(fault) = self.expect_login(session) {
            // What matters is that the login is gone.
            let _ = self.module.close_session(session);
            return Err(fault);
        }
        self.sessions().insert(session, Open { epoch, at_work: Arc::clone(at_work) });
        Ok((epoch, session))
    }

    /// A token that was out for a moment has lost its sessions, and with the last of them the login. A new session then works,
    /// and sees no private keys: they only seem to be gone.
    fn expect_login(&self, session: SessionHandle) -> Result<(), Fault> {
        let has_login = self.state.read().unwrap_or_else(PoisonError::into_inner).has_login;
        // A module that can't tell is believed to be logged in.
        match has_login && matches!(self.module.is_logged_in(session), Ok(false)) {
            true => Err(Fault::Token("the token has lost its login; it is connected anew".into())),
            false => Ok(()),
        }
    }

    /// Closes a worker's session, unless it was closed and its handle given to another since.
    pub(crate) fn close_session(&self, epoch: u64, session: SessionHandle) {
        let is_its = {
            let mut sessions = self.sessions();
            let is_its = sessions.get(&session).is_some_and(|open| open.epoch == epoch);
            is_its && sessions.remove(&session).is_some()
        };
        if is_its {
            // It may be closed already.
            let _ = self.module.close_session(session);
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// The AES-256 keys on the token. An object that can't be read costs itself, and not the others.
    pub fn list_keys(&self, session: SessionHandle) -> Result<Listing, Fault> {
        self.expect_login(session)?;
        let mut listing = Listing::default();
        let mut handles = HashMap::new();
        for key in self.module.find_aes_keys(session, None)? {
            let attributes = match self.module.key_attributes(session, key) {
                Ok(attributes) => attributes,
                // Destroyed meanwhile.
                Err(error) if error.code == CKR_OBJECT_HANDLE_INVALID => continue,
                Err(error) if error.reaction().repair != Repair::None => return Err(Fault::Call(error)),
                Err(error) => {
                    listing.unreadable.push(format!("object {key}: {error}"));
                    continue;
                }
            };
            if attributes.value_len == 32 {
                handles.insert(key, attributes.label.clone());
                listing.keys.push(attributes);
            }
        }
        // When a key is destroyed its handle may be given to another.
        let mut cached = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        cached.retain(|label, known| handles.get(&known.handle).is_some_and(|now| **now == **label));
        drop(cached);
        Ok(listing)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.module.leave();
    }
}
