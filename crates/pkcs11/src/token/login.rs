//! Logging in: each PIN once.

use super::Token;
use crate::fault::Fault;
use crate::module::{SessionHandle, TokenInfo};
use cryptoki_sys::*;
use std::sync::PoisonError;

impl Token {
    /// Logs in, unless this PIN was refused before or one more wrong PIN would lock the token.
    pub(super) fn log_in(&self, session: SessionHandle, info: &TokenInfo) -> Result<(), Fault> {
        if !info.needs_login() {
            return Ok(());
        }
        let pin = self.pin.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pin.as_ref().ok_or_else(|| Fault::Token("there is no PIN".into()))?;
        let refused = |why: &str| Err(Fault::Token(why.to_owned()));
        if info.is_locked() {
            return Err(Fault::Locked);
        }
        if info.is_final_try() {
            return refused(
                "one more wrong PIN locks the token, so none is tried; log in once with another tool",
            );
        }
        let ledger = |error: crate::ledger::LedgerError| Fault::Token(error.to_string());
        let _trial = self.ledger.begin().map_err(ledger)?;
        if !self.ledger.may_try(info, pin).map_err(ledger)? {
            return Err(Fault::Token(format!(
                "this PIN was refused before (or its tries never ended) and isn't tried again; configure the right one, or delete {} to try it once more",
                self.ledger.path().display()
            )));
        }
        let entry = self.ledger.enter(info, pin).map_err(ledger)?;
        match self.module.login(session, pin) {
            Ok(()) => self.ledger.accept(&entry).map_err(ledger),
            Err(error) if error.code == CKR_USER_ALREADY_LOGGED_IN => {
                self.ledger.withdraw(&entry).map_err(ledger)
            }
            Err(error) => {
                let noted = match self.was_refused(error.code) {
                    Some(true) => self.ledger.refuse(&entry),
                    Some(false) => self.ledger.withdraw(&entry),
                    None => Ok(()),
                };
                noted.map_err(ledger)?;
                Err(Fault::Call(error))
            }
        }
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
        let info = self.module.token_info(slot)?;
        self.log_in(session, &info)
    }

    /// Whether a login failed because of the PIN; none where nothing says so. A code that isn't about PINs may still hide
    /// one that was wrong, and then the token's flags tell.
    fn was_refused(&self, code: CK_RV) -> Option<bool> {
        match code {
            CKR_PIN_INCORRECT | CKR_PIN_INVALID | CKR_PIN_LEN_RANGE | CKR_PIN_EXPIRED | CKR_PIN_LOCKED => {
                Some(true)
            }
            _ => {
                let (_, info) = self.find_slot().ok()?;
                Some(info.is_pin_count_low() || info.is_final_try() || info.is_locked())
            }
        }
    }
}
