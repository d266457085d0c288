//! Logging in: each PIN once.

use super::Token;
use crate::fault::Fault;
use crate::ledger::{LedgerError, PinLedger, Standing};
use crate::module::{SessionHandle, SlotId};
use cryptoki_sys::*;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Token {
    /// Logs in, unless this PIN was refused before or one more wrong PIN would lock the token.
    pub(super) fn log_in(&self, session: SessionHandle, slot: SlotId) -> Result<(), Fault> {
        let pin = self.pin.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pin.as_ref().ok_or_else(|| Fault::Token("there is no PIN".into()))?;
        let refused = |why: &str| Err(Fault::Token(why.to_owned()));
        let failed = |error: LedgerError| Fault::Token(error.to_string());
        let before = self.module.token_info(slot)?;
        let ledger = PinLedger::of(&before, &self.settings.pin_folder);
        let _trial = ledger.begin().map_err(failed)?;
        // Its flags count only now: a try that was under way elsewhere may have been the last but one.
        let info = self.module.token_info(slot)?;
        if info.identity() != before.identity() {
            return refused("another token is in the slot than a moment before");
        }
        if !info.needs_login() {
            return Ok(());
        }
        if info.flags & CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
            return refused(
                "the token takes its PIN at a pad of its own (CKF_PROTECTED_AUTHENTICATION_PATH), which isn't supported",
            );
        }
        if let Some(why) = oddity(pin.expose()) {
            return refused(why);
        }
        if info.is_locked() {
            return Err(Fault::Locked);
        }
        if info.is_final_try() {
            return refused(
                "one more wrong PIN locks the token, so none is tried; log in once with another tool",
            );
        }
        // Where the token says that wrong PINs were tried, a try that was cut short may have been one.
        let (proven, unspent) = (self.proven.load(Ordering::Acquire), info.has_all_tries());
        let once_more = format!("or delete {} to try it once more", ledger.path().display());
        let entry = match ledger.enter(&info, pin, proven, unspent).map_err(failed)? {
            Standing::Try(entry) => entry,
            Standing::Refused => {
                return refused(&format!(
                    "this PIN was refused before and isn't tried again; configure the right one, {once_more}"
                ));
            }
            Standing::Unended => {
                return refused(&format!(
                    "tries of this PIN were cut short and the token's flags don't say that they cost nothing, so it isn't tried again; {once_more}"
                ));
            }
        };
        match self.module.login(session, pin) {
            Ok(()) => {
                self.proven.store(true, Ordering::Release);
                ledger.accept(&entry).map_err(failed)
            }
            Err(error) if error.code == CKR_USER_ALREADY_LOGGED_IN => ledger.withdraw(&entry).map_err(failed),
            Err(error) => {
                match verdict(error.code) {
                    Verdict::None => ledger.withdraw(&entry).map_err(failed)?,
                    Verdict::Transient if proven || self.has_all_tries(slot) => {
                        ledger.withdraw(&entry).map_err(failed)?
                    }
                    // A later try counts it: see the ledger.
                    Verdict::Transient | Verdict::Unclear => {}
                    Verdict::Refused => ledger.refuse(&entry).map_err(failed)?,
                }
                Err(Fault::Call(error))
            }
        }
    }

    /// Whether the token's flags say that no wrong PIN was tried since the last login.
    fn has_all_tries(&self, slot: SlotId) -> bool {
        self.module.token_info(slot).is_ok_and(|info| info.has_all_tries())
    }

    /// Logs in again, for all sessions, after a call that says that nobody is. `epoch` is that of its session.
    pub(crate) fn log_in_again(&self, session: SessionHandle, epoch: u64) -> Result<(), Fault> {
        let _connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.epoch != epoch {
                return Ok(());
            }
            state.slot.ok_or_else(|| Fault::Token("the token isn't connected".into()))?
        };
        self.log_in(session, slot)
    }
}

/// What is wrong with a PIN before any token has seen it.
fn oddity(pin: &[u8]) -> Option<&'static str> {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    match pin {
        [] => Some("the configured PIN is empty, so it isn't tried"),
        pin if is_blank(pin.first()) || is_blank(pin.last()) => {
            Some("the configured PIN has a blank before or behind it, so it isn't tried; take it away")
        }
        _ => None,
    }
}

/// What a login's failure says about the PIN.
enum Verdict {
    /// Nothing: it wasn't looked at.
    None,
    /// Nothing by itself: the token or the module failed.
    Transient,
    /// A vendor's own code: perhaps it was looked at, and cost a try.
    Unclear,
    /// It is wrong, or may be.
    Refused,
}

fn verdict(code: CK_RV) -> Verdict {
    match code {
        CKR_CRYPTOKI_NOT_INITIALIZED
        | CKR_DEVICE_REMOVED
        | CKR_SESSION_CLOSED
        | CKR_SESSION_HANDLE_INVALID
        | CKR_SESSION_READ_ONLY_EXISTS
        | CKR_TOKEN_NOT_PRESENT
        | CKR_USER_ANOTHER_ALREADY_LOGGED_IN
        | CKR_USER_PIN_NOT_INITIALIZED
        | CKR_USER_TOO_MANY_TYPES
        | CKR_USER_TYPE_INVALID => Verdict::None,
        CKR_DEVICE_ERROR
        | CKR_DEVICE_MEMORY
        | CKR_FUNCTION_CANCELED
        | CKR_FUNCTION_FAILED
        | CKR_GENERAL_ERROR
        | CKR_HOST_MEMORY
        | CKR_TOKEN_NOT_RECOGNIZED => Verdict::Transient,
        code if code & CKR_VENDOR_DEFINED != 0 => Verdict::Unclear,
        _ => Verdict::Refused,
    }
}
