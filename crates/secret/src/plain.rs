//! Secrets on targets without memory locking, such as wasm32: a wiped allocation.

use zeroize::Zeroize;

/// How much secret memory there is, and whether the operating system keeps it out of swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockingStatus {
    /// Bytes that are locked.
    pub locked: usize,
    /// Bytes that could not be locked.
    pub unlocked: usize,
    /// The error number of the first failure.
    pub errno: Option<i32>,
}

impl LockingStatus {
    /// Whether all secret memory is locked.
    pub fn is_complete(&self) -> bool {
        self.unlocked == 0
    }
}

/// Nothing is locked on this target, and nothing is counted.
pub fn locking_status() -> LockingStatus {
    LockingStatus::default()
}

/// A boxed slice: it never grows, so that no old copy stays behind.
pub struct Slot(Box<[u8]>);

impl Slot {
    pub fn zeroed(len: usize) -> Slot {
        Slot(vec![0; len].into_boxed_slice())
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
