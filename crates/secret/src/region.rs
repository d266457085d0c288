//! Memory straight from the operating system: page-aligned, locked, and left out of core dumps.

use std::io;
use std::ptr::{self, NonNull};

/// A mapping that was asked for, and whether it could be locked.
pub struct Region {
    pub start: NonNull<u8>,
    pub locked: Result<(), io::Error>,
}

/// Maps `len` zeroed bytes (not 0). The kernel rounds up to whole pages.
pub fn map(len: usize) -> Result<Region, io::Error> {
    // SAFETY: a fresh private anonymous mapping; no address is asked for, so that nothing existing is replaced.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let Some(start) = NonNull::new(address.cast::<u8>()) else {
        return Err(io::Error::other("mmap returned address 0"));
    };
    // SAFETY: the range is the mapping made above; locking doesn't change its contents.
    let locked = match unsafe { libc::mlock(address, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // Advice: where the kernel lacks it, harden_process() still prevents core dumps.
    #[cfg(target_os = "linux")]
    // SAFETY: the range is the mapping made above; MADV_DONTDUMP doesn't change its contents.
    unsafe {
        libc::madvise(address, len, libc::MADV_DONTDUMP)
    };
    Ok(Region { start, locked })
}

/// Gives a mapping back.
///
/// # Safety
/// `start` and `len` are those of a [`map`] that nothing refers to any more.
pub unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: by the contract above. Unmapping unlocks.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}
