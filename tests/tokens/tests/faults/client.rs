//! A program that uses a fault module.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use holdfast_test_tokens::{Faults, Token, keys};
use std::time::{Duration, Instant};

pub const IV: [u8; 12] = [7; 12];
pub const AAD: &[u8] = b"additional";
pub const TEXT: &[u8] = b"thirty-two bytes of plain text..";

/// A token with the key `demo`, and a fault module in front of it that is initialised.
pub struct Client {
    pub pkcs11: Pkcs11,
    pub faults: Faults,
    pub token: Token,
}

impl Client {
    pub fn of(token: Option<Token>) -> Option<Client> {
        Client::with(token, |_| ())
    }

    /// With commands before the module is loaded.
    pub fn with(token: Option<Token>, command: impl FnOnce(&Faults)) -> Option<Client> {
        let token = token?;
        token.create_key("demo");
        let faults = token.faults();
        command(&faults);
        let pkcs11 = Pkcs11::new(faults.module()).unwrap();
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        Some(Client { pkcs11, faults, token })
    }

    pub fn slot(&self) -> Option<Slot> {
        let slots = self.pkcs11.get_slots_with_token().unwrap();
        slots.into_iter().find(|slot| {
            self.pkcs11.get_token_info(*slot).is_ok_and(|info| info.label() == self.token.label())
        })
    }

    /// A session, not logged in.
    pub fn open(&self) -> Result<Session, RvError> {
        self.pkcs11.open_ro_session(self.slot().unwrap()).map_err(code)
    }

    /// A session, logged in, and the key `demo`.
    pub fn session(&self) -> (Session, ObjectHandle) {
        let session = self.open().unwrap();
        match self.login(&session) {
            Ok(()) | Err(RvError::UserAlreadyLoggedIn) => {}
            Err(error) => panic!("login: {error}"),
        }
        let key = keys(&session, "demo")[0];
        (session, key)
    }

    pub fn login(&self, session: &Session) -> Result<(), RvError> {
        session.login(UserType::User, Some(&AuthPin::from(self.token.pin().as_str()))).map_err(code)
    }
}

pub fn encrypt(session: &Session, key: ObjectHandle) -> Result<Vec<u8>, RvError> {
    let mut iv = IV;
    let params = GcmParams::new(&mut iv, AAD, 128.into()).unwrap();
    session.encrypt(&Mechanism::AesGcm(params), key, TEXT).map_err(code)
}

pub fn decrypt(session: &Session, key: ObjectHandle, sealed: &[u8]) -> Result<Vec<u8>, RvError> {
    decrypt_with(session, key, &IV, sealed)
}

pub fn decrypt_with(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, RvError> {
    let mut iv = iv.to_vec();
    let params = GcmParams::new(&mut iv, AAD, 128.into()).unwrap();
    session.decrypt(&Mechanism::AesGcm(params), key, sealed).map_err(code)
}

pub fn code(error: Error) -> RvError {
    match error {
        Error::Pkcs11(code, _) => code,
        other => panic!("{other}"),
    }
}

#[track_caller]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
