//! Which object a version of a key is: found by its label, known by its handle and check value.

use super::{Known, Token};
use crate::fault::Fault;
use crate::module::{ObjectHandle, SessionHandle};
use cryptoki_sys::CKR_OBJECT_HANDLE_INVALID;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How old a look at a key may be that is used by its handle: a key that was given another label serves no longer.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Token {
    /// A key's handle, from the cache or the token. What is in the cache is looked at again every now and then: a key may have been
    /// given another label, or its handle to another key. `check_value`: of the key that is meant, where it is known.
    pub(crate) fn key(
        &self,
        session: SessionHandle,
        label: &Arc<str>,
        check_value: &[u8],
    ) -> Result<ObjectHandle, Fault> {
        let cached = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(label).cloned();
        let epoch = self.epoch();
        if let Some(known) = cached {
            if known.may_be(check_value) && known.looked.elapsed() < LOOK_EVERY {
                return Ok(known.handle);
            }
            match self.module.key_attributes(session, known.handle) {
                Ok(now)
                    if now.label == **label
                        && now.value_len == 32
                        && known.is(&now)
                        && known.may_be(check_value) =>
                {
                    self.remember(label, epoch, Known { looked: Instant::now(), ..known.clone() });
                    return Ok(known.handle);
                }
                Ok(_) => self.forget_key(label),
                Err(error) if error.code == CKR_OBJECT_HANDLE_INVALID => self.forget_key(label),
                Err(error) => return Err(Fault::Call(error)),
            }
        }
        let found = self.module.find_aes_keys(session, Some(label))?;
        let handle = match found.as_slice() {
            [] => return self.expect_login(session).and(Err(Fault::NoKey)),
            [key] => *key,
            _ => return Err(Fault::AmbiguousLabel),
        };
        let attributes = self.module.key_attributes(session, handle)?;
        if attributes.value_len != 32 {
            return Err(Fault::NoKey);
        }
        let known = Known { handle, check_value: attributes.check_value, looked: Instant::now() };
        if !known.may_be(check_value) {
            // The label was given to another key: what that makes, nobody could tell from what the first one made.
            return Err(Fault::OtherKey);
        }
        self.remember(label, epoch, known);
        Ok(handle)
    }

    fn remember(&self, label: &Arc<str>, epoch: u64, known: Known) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() == epoch {
            keys.insert(Arc::clone(label), known);
        }
    }

    /// Forgets a key's handle.
    pub(crate) fn forget_key(&self, label: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(label);
    }
}
