//! Slots of locked memory, by size class, wiped and reused.

use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use crate::region;

/// The slot sizes: 32 bytes to 4,096 in powers of two.
const CLASSES: usize = 8;
const SMALLEST: usize = 32;
const LARGEST: usize = SMALLEST << (CLASSES - 1);

/// What one growth of a class maps. Whole pages on every common page size up to it.
const CHUNK: usize = 16 * 1024;

/// How much secret memory there is, and whether the operating system keeps it out of swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockingStatus {
    /// Bytes that are locked.
    pub locked: usize,
    /// Bytes that could not be locked. They still work, and could be swapped out.
    pub unlocked: usize,
    /// The error number of the first failure, such as `ENOMEM` for a too small `RLIMIT_MEMLOCK`.
    pub errno: Option<i32>,
}

impl LockingStatus {
    /// Whether all secret memory is locked.
    pub fn is_complete(&self) -> bool {
        self.unlocked == 0
    }
}

/// How secret memory stands at the moment. Worth a warning when it is not complete.
pub fn locking_status() -> LockingStatus {
    slab().status
}

struct Slab {
    free: [Vec<NonNull<u8>>; CLASSES],
    status: LockingStatus,
}

// SAFETY: the pointers lead to slots that nobody uses, in mappings that are never unmapped; whoever holds the mutex
// owns them all, on whichever thread.
unsafe impl Send for Slab {}

static SLAB: Mutex<Slab> = Mutex::new(Slab {
    free: [const { Vec::new() }; CLASSES],
    status: LockingStatus { locked: 0, unlocked: 0, errno: None },
});

fn slab() -> MutexGuard<'static, Slab> {
    // No operation below leaves the lists half changed, so a poisoned lock is as good as any.
    SLAB.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slab {
    /// Maps `len` bytes, counts them, and says whether they are locked. None when there is no memory to map.
    fn map(&mut self, len: usize) -> Option<(NonNull<u8>, bool)> {
        match region::map(len) {
            Ok(region) => {
                let locked = region.locked.is_ok();
                match region.locked {
                    Ok(()) => self.status.locked += len,
                    Err(error) => self.note_unlocked(len, error.raw_os_error()),
                }
                Some((region.start, locked))
            }
            Err(error) => {
                self.note_unlocked(0, error.raw_os_error());
                None
            }
        }
    }

    fn note_unlocked(&mut self, len: usize, errno: Option<i32>) {
        self.status.unlocked += len;
        self.status.errno = self.status.errno.or(errno);
    }

    /// Better unlocked than not serving; the allocator aborts if it has nothing either.
    fn allocate(&mut self, len: usize) -> NonNull<u8> {
        self.note_unlocked(len, None);
        NonNull::from(Box::leak(vec![0; len].into_boxed_slice())).cast()
    }

    fn take(&mut self, class: usize) -> NonNull<u8> {
        if let Some(slot) = self.free[class].pop() {
            return slot;
        }
        let start = match self.map(CHUNK) {
            Some((start, _)) => start,
            None => self.allocate(CHUNK),
        };
        let size = SMALLEST << class;
        for index in 1..CHUNK / size {
            // SAFETY: index * size is inside the CHUNK bytes at `start`.
            self.free[class].push(unsafe { start.add(index * size) });
        }
        start
    }
}

/// Exclusive ownership of zeroed or written bytes.
pub struct Slot {
    start: NonNull<u8>,
    len: usize,
    home: Home,
}

enum Home {
    Nowhere,
    Class(usize),
    Mapping { locked: bool },
    Heap,
}

// SAFETY: a slot is the only owner of its bytes, as a Box<[u8]> is.
unsafe impl Send for Slot {}
// SAFETY: shared references only read.
unsafe impl Sync for Slot {}

impl Slot {
    pub fn zeroed(len: usize) -> Slot {
        let (start, home) = if len == 0 {
            (NonNull::dangling(), Home::Nowhere)
        } else if len <= LARGEST {
            let class = (len.max(SMALLEST).next_power_of_two() / SMALLEST).trailing_zeros() as usize;
            (slab().take(class), Home::Class(class))
        } else {
            let mut slab = slab();
            match slab.map(len) {
                Some((start, locked)) => (start, Home::Mapping { locked }),
                None => (slab.allocate(len), Home::Heap),
            }
        };
        Slot { start, len, home }
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes at `start` are this slot's own (or `len` is 0 and `start` dangles).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
        match self.home {
            Home::Nowhere => {}
            Home::Class(class) => slab().free[class].push(self.start),
            Home::Mapping { locked } => {
                let mut slab = slab();
                match locked {
                    true => slab.status.locked -= self.len,
                    false => slab.status.unlocked -= self.len,
                }
                // SAFETY: mapped with this length by `zeroed`, and nothing else refers to it.
                unsafe { region::unmap(self.start, self.len) };
            }
            Home::Heap => {
                slab().status.unlocked -= self.len;
                let bytes = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
                // SAFETY: leaked from a Box<[u8]> of this length by `zeroed`, and nothing else refers to it.
                drop(unsafe { Box::from_raw(bytes) });
            }
        }
    }
}
