//! Does operations on a session of its own: one C_…Init and one call, repaired and tried once more where that helps.

use crate::descriptions;
use crate::fault::Fault;
use crate::module::{GcmKey, SessionHandle};
use crate::request::{Answer, Iv, Operation, Work};
use crate::rv::{Meaning, Repair};
use crate::token::Token;
use cryptoki_sys::CKR_SESSION_COUNT;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// One worker's session.
pub struct Executor {
    token: Arc<Token>,
    session: Option<(u64, SessionHandle)>,
    /// Shared with the token, which closes no session whose worker is at work.
    at_work: Arc<AtomicBool>,
}

impl Executor {
    /// A worker on `token`. The session is opened when it is needed.
    pub fn new(token: Arc<Token>) -> Executor {
        Executor { token, session: None, at_work: Arc::default() }
    }

    /// Does an operation.
    pub fn run(&mut self, work: &Work) -> Result<Answer, Fault> {
        // Before the epoch is looked at: see `Token::disconnect`.
        self.at_work.store(true, Ordering::Release);
        let result = match work.operation {
            Operation::EncryptVerified => self.encrypt_verified(work),
            _ => self.attempt_or_repair(work),
        };
        self.at_work.store(false, Ordering::Release);
        result
    }

    /// Encrypts, and decrypts what came of it. Each of the two is repaired by itself.
    fn encrypt_verified(&mut self, work: &Work) -> Result<Answer, Fault> {
        let of = |operation, iv, data: &Arc<Zeroizing<Vec<u8>>>| Work {
            operation,
            label: Arc::clone(&work.label),
            check_value: Arc::clone(&work.check_value),
            iv,
            aad: Arc::clone(&work.aad),
            data: Arc::clone(data),
        };
        let Answer { iv, data, repaired, .. } =
            self.attempt_or_repair(&of(Operation::Encrypt, work.iv, &work.data))?;
        // What the gate's `Verified` has.
        let mut hash = Sha256::new();
        for part in [&work.aad[..], iv.bytes(), data.as_slice()] {
            hash.update(part);
        }
        let made = Arc::new(data);
        match self.attempt_or_repair(&of(Operation::Decrypt, iv, &made)) {
            Ok(opened) if bool::from(opened.data.ct_eq(&work.data)) => hash.update(opened.data.as_slice()),
            Ok(_) => return Err(Fault::Unverified),
            // What was made right now can't be altered.
            Err(fault) if fault.meaning() == Meaning::Altered => return Err(Fault::Unverified),
            Err(fault) => return Err(fault),
        }
        let data = Arc::try_unwrap(made).unwrap_or_else(|made| Zeroizing::new(made.to_vec()));
        Ok(Answer { iv, data, verified: Some(hash.finalize().into()), repaired })
    }

    fn attempt_or_repair(&mut self, work: &Work) -> Result<Answer, Fault> {
        let fault = match self.attempt(work) {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let repaired = match fault.repair() {
            Repair::Session => {
                self.close();
                true
            }
            Repair::Login => match self.session {
                Some((epoch, session)) => {
                    self.token.log_in_again(session, epoch)?;
                    true
                }
                None => false,
            },
            Repair::Handle => {
                self.token.forget_key(&work.label);
                true
            }
            Repair::Token => {
                self.close();
                false
            }
            Repair::None => false,
        };
        let failed = match &fault {
            Fault::Call(error) => Some(*error),
            _ => None,
        };
        let again = if repaired { self.attempt(work) } else { Err(fault) };
        match again.map(|answer| Answer { repaired: failed, ..answer }) {
            Err(Fault::Call(error))
                if error.reaction().meaning == Meaning::Ambiguous
                    && self.was_altered(work, error.function) =>
            {
                Err(Fault::Altered(error))
            }
            result => result,
        }
    }

    /// Opens the session, if it isn't open. False where the token allows no more sessions.
    pub fn open(&mut self) -> bool {
        !matches!(self.session(), Err(Fault::Call(error)) if error.code == CKR_SESSION_COUNT)
    }

    fn attempt(&mut self, work: &Work) -> Result<Answer, Fault> {
        let session = self.session()?;
        let (module, quirks) = (self.token.module(), self.token.quirks());
        let key = || {
            let key = self.token.key(session, &work.label, &work.check_value)?;
            Ok::<_, Fault>(GcmKey { module, session, key, quirks })
        };
        match work.operation {
            Operation::List => {
                let found = self.token.list_keys(session)?;
                let data = Zeroizing::new(descriptions::encode_keys(&found));
                Ok(Answer { iv: work.iv, data, verified: None, repaired: None })
            }
            // Verified by `encrypt_verified`.
            Operation::Encrypt | Operation::EncryptVerified => {
                let mut iv = work.iv;
                let made = key()?.encrypt(&mut iv, &work.aad, &work.data)?;
                Ok(Answer { iv, data: Zeroizing::new(made), verified: None, repaired: None })
            }
            Operation::Decrypt => {
                let data = key()?.decrypt(&work.iv, &work.aad, &work.data)?;
                Ok(Answer { iv: work.iv, data, verified: None, repaired: None })
            }
        }
    }

    /// Whether a decryption that failed with a code that says nothing (SoftHSM2 has one code for everything) failed because
    /// of the ciphertext: the HSM still decrypts what it made itself.
    fn was_altered(&mut self, work: &Work, function: &str) -> bool {
        if work.operation != Operation::Decrypt || !matches!(function, "C_Decrypt" | "C_DecryptMessage") {
            return false;
        }
        let by_test_key = match self.token.test_key().map(Arc::from) {
            Some(label) if *label != *work.label => self.round_trip(label),
            _ => Err(Fault::NoKey),
        };
        match by_test_key {
            Ok(()) => true,
            // Without a test key the session's word has to do.
            Err(Fault::NoKey) => {
                self.session().is_ok_and(|session| self.token.module().session_works(session) == Ok(true))
            }
            Err(_) => false,
        }
    }

    fn round_trip(&mut self, label: Arc<str>) -> Result<(), Fault> {
        let random = |error: getrandom::Error| Fault::Token(error.to_string());
        let mut work = Work {
            operation: Operation::Encrypt,
            label,
            check_value: Arc::from([].as_slice()),
            iv: Iv::random().map_err(random)?,
            aad: Arc::from(b"check".as_slice()),
            data: Arc::new(Zeroizing::new(b"check".to_vec())),
        };
        let sealed = self.attempt(&work)?;
        work = Work { operation: Operation::Decrypt, iv: sealed.iv, data: Arc::new(sealed.data), ..work };
        self.attempt(&work).map(|_| ())
    }

    fn session(&mut self) -> Result<SessionHandle, Fault> {
        let current = self.token.epoch();
        match self.session {
            Some((epoch, session)) if epoch == current => Ok(session),
            _ => {
                // One of an earlier epoch is open still where this worker was inside when the epoch ended.
                self.close();
                let (epoch, session) = self.token.open_session(&self.at_work)?;
                self.session = Some((epoch, session));
                Ok(session)
            }
        }
    }

    /// Closes the session.
    pub fn close(&mut self) {
        if let Some((epoch, session)) = self.session.take() {
            self.token.close_session(epoch, session);
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.close();
    }
}
