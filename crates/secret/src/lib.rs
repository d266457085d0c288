//! Byte strings that must not leak: kept out of swap and core dumps, wiped when they go, and never printed.
//!
//! What it is for: every key, PIN, passphrase and plaintext that the host holds is a [`Secret`]: in memory that is locked where the
//! system allows, not in core dumps, wiped when dropped.
//!
//! What it must never do: print, compare in variable time, or copy a secret where its owner doesn't see it.
//!
//! It exports [`Secret`], how much of the memory is locked ([`locking_status`]), and [`harden_process`] for a process that holds secrets.

use std::fmt;

use subtle::ConstantTimeEq;

#[cfg(unix)]
mod process;
#[cfg(unix)]
mod region;
#[cfg(unix)]
mod slab;

#[cfg(not(unix))]
#[path = "plain.rs"]
mod slab;

#[cfg(unix)]
pub use process::{HardenError, harden_process};
pub use slab::{LockingStatus, locking_status};

use slab::Slot;

/// A secret byte string.
///
/// Up to 4,096 bytes live in a slot of a shared slab; longer ones have a mapping of their own. Both are page-aligned,
/// locked into memory as far as `RLIMIT_MEMLOCK` allows (see [`locking_status`]), excluded from core dumps, and wiped
/// before they are used again. On targets without an operating system's memory calls it is a wiped allocation.
///
/// There is no `Display` and no serialisation; `Debug` prints `Secret(..)`. Equality takes the same time wherever two
/// secrets of one length differ.
pub struct Secret(Slot);

impl Secret {
    /// Copies `bytes`. The caller wipes its own copy.
    pub fn copy_from(bytes: &[u8]) -> Secret {
        Secret::with_len(bytes.len(), |buffer| buffer.copy_from_slice(bytes))
    }

    /// A secret of `len` bytes, zero until `fill` writes them in place.
    pub fn with_len(len: usize, fill: impl FnOnce(&mut [u8])) -> Secret {
        let mut slot = Slot::zeroed(len);
        fill(slot.as_mut_slice());
        Secret(slot)
    }

    /// As [`with_len`](Secret::with_len), for a `fill` that can fail; what it had written is wiped then.
    pub fn try_with_len<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
        let mut slot = Slot::zeroed(len);
        fill(slot.as_mut_slice())?;
        Ok(Secret(slot))
    }

    /// The bytes. Copies of them are the caller's to wipe.
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The bytes, for writing in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    /// The number of bytes. It is not secret.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Clone for Secret {
    fn clone(&self) -> Secret {
        Secret::copy_from(self.expose())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;
