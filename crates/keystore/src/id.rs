//! Which keystore.

use std::fmt;

/// A keystore's random identity. It stays the same for life.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeystoreId(pub [u8; 16]);

impl fmt::Display for KeystoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeystoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
