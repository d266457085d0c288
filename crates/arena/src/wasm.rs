//! The arena itself; only meaningful where a module owns its linear memory and has one thread.

use crate::place;
use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;
use core::ptr;

const PAGE: usize = 65_536;

unsafe extern "C" {
    /// Set by the linker: the first byte after data and stack.
    static __heap_base: u8;
}

/// The global allocator of a component that serves one request.
pub struct Arena {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: wasm32-unknown-unknown without the threads proposal has one thread.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena that finds its memory on first use.
    pub const fn new() -> Arena {
        Arena { next: Cell::new(0), end: Cell::new(0) }
    }

    #[cold]
    fn make_room(&self, end: usize) -> bool {
        if self.end.get() == 0 {
            self.end.set(memory_size(0) * PAGE);
            if end <= self.end.get() {
                return true;
            }
        }
        let pages = (end - self.end.get()).div_ceil(PAGE);
        let grown = memory_grow(0, pages) != usize::MAX;
        if grown {
            self.end.set(memory_size(0) * PAGE);
        }
        grown
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

// SAFETY: every block lies between `__heap_base` and the end of the memory, and above every block given out before,
// except that the last block may be given back or resized in place.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let next = match self.next.get() {
            0 => (&raw const __heap_base) as usize,
            next => next,
        };
        let Some((start, end)) = place(next, layout.size(), layout.align()) else { return ptr::null_mut() };
        if end > self.end.get() && !self.make_room(end) {
            return ptr::null_mut();
        }
        self.next.set(end);
        start as *mut u8
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded. Memory may have been used before, so it is cleared.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == self.next.get() {
            self.next.set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let is_last = block as usize + layout.size() == self.next.get();
        if is_last
            && let Some((_, end)) = place(block as usize, new_size, 1)
            && (end <= self.end.get() || self.make_room(end))
        {
            self.next.set(end);
            return block;
        }
        // SAFETY: `new_size` is non-zero and within isize with this alignment, by the contract of `realloc`.
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            fresh
        }
    }
}
