//! The seal whose root an HSM's key wraps.

use holdfast_secret::Secret;
use subtle::ConstantTimeEq;

use crate::crypto::KEY_LEN;

/// The parameters' length is one byte in the file.
const MAX_WRAPPED_LEN: usize = 255;

/// A key in an HSM. This crate knows no HSMs: who has one says what it does.
pub trait HsmKey: Send + Sync {
    /// Encrypts the root of 32 bytes into at most 255, which tell everything that [`HsmKey::unwrap`] needs.
    fn wrap(&self, root: &Secret) -> Result<Vec<u8>, HsmKeyError>;
    /// Decrypts what [`HsmKey::wrap`] made.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, HsmKeyError>;
}

/// Why an HSM's key doesn't wrap or unwrap.
#[derive(Debug, thiserror::Error)]
pub enum HsmKeyError {
    /// It can't be asked now. Says why.
    #[error("the keystore is sealed by an HSM's key, and the HSM can't be used: {0}")]
    Unavailable(String),
    /// It is another key than the one that sealed. Says what was found.
    #[error("the keystore is sealed by an HSM's key, and this isn't that key: {0}")]
    OtherKey(String),
    /// What it gives is no root.
    #[error("the HSM's key gave something else than was wrapped; does the HSM work?")]
    Wrong,
}

/// Wraps, and proves that it unwraps: a keystore that nothing opens must never be written.
pub(super) fn wrap(key: &dyn HsmKey, root: &Secret) -> Result<Vec<u8>, HsmKeyError> {
    let wrapped = key.wrap(root)?;
    let unwrapped = unwrap(key, &wrapped)?;
    match wrapped.len() <= MAX_WRAPPED_LEN && bool::from(unwrapped.expose().ct_eq(root.expose())) {
        true => Ok(wrapped),
        false => Err(HsmKeyError::Wrong),
    }
}

pub(super) fn unwrap(key: &dyn HsmKey, wrapped: &[u8]) -> Result<Secret, HsmKeyError> {
    let root = key.unwrap(wrapped)?;
    if root.len() == KEY_LEN { Ok(root) } else { Err(HsmKeyError::Wrong) }
}
