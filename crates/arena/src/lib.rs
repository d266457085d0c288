//! The allocator of components that live for one request: a bump arena over the memory that the module starts with.
//!
//! A fresh instance has all of its initial memory zeroed and ready; asking for more by `memory.grow` costs system
//! calls (10 to 30 us measured with two threads). So allocation goes upwards from the end of the data to the end of
//! the initial memory, and grows only past that. Freed memory is reused when it was the last allocation, and is
//! otherwise dropped with the instance.
//!
//! What it must never do: give out memory that overlaps other memory in use, or that isn't aligned as asked for. It never gives back memory
//! to an instance that lives long: it is for those that live for one request.
//!
//! It exports the allocator, on wasm32 alone.

#![no_std]

#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(target_arch = "wasm32")]
pub use wasm::Arena;

/// Where an allocation of `size` bytes starts at or after `next`, and where it ends; `None` past the address space.
/// `align` is a power of two.
#[cfg(any(target_arch = "wasm32", test))]
fn place(next: usize, size: usize, align: usize) -> Option<(usize, usize)> {
    let start = next.checked_add(align - 1)? & !(align - 1);
    let end = start.checked_add(size)?;
    (end <= u32::MAX as usize).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn allocations_are_aligned_and_do_not_wrap() {
        assert_eq!(place(1, 4, 8), Some((8, 12)));
        assert_eq!(place(8, 0, 1), Some((8, 8)));
        assert_eq!(place(usize::MAX - 2, 1, 8), None);
        assert_eq!(place(8, usize::MAX, 1), None);
        assert_eq!(place(0xffff_fff0, 0x20, 1), None);
    }
}
