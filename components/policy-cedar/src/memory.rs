//! Memory of one decision: the next bytes of a region that was set aside once.
//!
//! Reading a document leaves the heap full of small holes. A decision that filled those would write to many pages, and
//! the host has to restore each of them for the next instance. From one region it writes to a few, whatever the
//! document (measured with 100 rules: half of a decision's time). The region is dropped with the instance.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

/// Bytes of the region. A decision allocates some 30 KB; what doesn't fit comes from the heap.
const REGION: usize = 256 * 1024;

#[global_allocator]
static MEMORY: Memory = Memory { start: Cell::new(0), next: Cell::new(0), end: Cell::new(0) };

/// The heap until [`begin_decisions`], and then the region first.
struct Memory {
    start: Cell<usize>,
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: the component's target has no threads, so nothing is ever shared between any.
unsafe impl Sync for Memory {}

/// Allocates from a region from now on.
pub(crate) fn begin_decisions() {
    let Ok(layout) = Layout::from_size_align(REGION, 16) else { return };
    // SAFETY: the layout's size isn't zero.
    let start = unsafe { System.alloc(layout) } as usize;
    if start != 0 {
        MEMORY.start.set(start);
        MEMORY.next.set(start);
        MEMORY.end.set(start + REGION);
    }
}

impl Memory {
    fn holds(&self, at: usize) -> bool {
        (self.start.get()..self.end.get()).contains(&at)
    }

    /// Whether nothing was allocated after these bytes.
    fn is_last(&self, at: usize, size: usize) -> bool {
        self.holds(at) && at + size == self.next.get()
    }

    /// Ends the last allocation at `end`, if the region reaches that far.
    fn end_at(&self, end: Option<usize>) -> bool {
        let fits = end.is_some_and(|end| end <= self.end.get());
        if let (true, Some(end)) = (fits, end) {
            self.next.set(end);
        }
        fits
    }
}

// SAFETY: an allocation lies wholly inside the region and after all others that are in use there, aligned by rounding
// up, or else comes from `System`; `holds` tells the two apart, and only `System`'s own go back to it.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.next.get().next_multiple_of(layout.align());
        if self.end_at(start.checked_add(layout.size())) {
            return start as *mut u8;
        }
        // SAFETY: the caller's promises are those that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let at = pointer as usize;
        if self.is_last(at, layout.size()) {
            self.next.set(at);
        } else if !self.holds(at) {
            // SAFETY: it isn't in the region, so System allocated it, with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let at = pointer as usize;
        if !self.holds(at) {
            // SAFETY: it isn't in the region, so System allocated it, with this layout.
            return unsafe { System.realloc(pointer, layout, size) };
        }
        if self.is_last(at, layout.size()) && self.end_at(at.checked_add(size)) {
            return pointer;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        // SAFETY: `size` isn't zero (the caller's promise), and the two don't overlap: the old one is still allocated.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                new.copy_from_nonoverlapping(pointer, layout.size().min(size));
            }
            new
        }
    }
}
