//! What any component can try: to take all of what it runs on.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// Written to and read from, so that no loop here can be left out.
static SINK: AtomicU64 = AtomicU64::new(1);

/// Does what `name` says, if it is one of: `trap`, `loop`, `recurse`, `overflow`, `allocate`, `fill`.
pub fn exhaust(name: &str) {
    match name {
        "trap" => std::process::abort(),
        "loop" => spin(),
        "recurse" => {
            recurse(u64::MAX, &mut || ());
        }
        "overflow" => {
            overflow(u64::MAX);
        }
        "allocate" => allocate(1 << 18, 1),
        "fill" => allocate(1 << 16, 1 << 16),
        _ => {}
    }
}

/// Runs for ever.
pub fn spin() -> ! {
    loop {
        SINK.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls itself `depth` times, which takes the host's stack and no linear memory, and `last` there.
pub fn recurse(depth: u64, last: &mut dyn FnMut()) -> u64 {
    if depth == 0 {
        last();
        return SINK.load(Ordering::Relaxed);
    }
    // Neither the last thing done nor something that can be added up in a loop.
    recurse(depth - 1, last).rotate_left(7) ^ SINK.fetch_add(depth, Ordering::Relaxed)
}

/// Calls itself with a large frame each time, which runs down the stack in linear memory.
fn overflow(depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    let mut frame = black_box([depth; 128]);
    frame[(depth % 128) as usize] = overflow(depth - 1);
    black_box(frame).iter().fold(0, |sum, word| sum ^ word)
}

/// Asks for memory in pieces of `size` bytes, for ever, keeps it, and writes to the first `used` bytes of each.
fn allocate(size: usize, used: usize) -> ! {
    let mut kept = Vec::new();
    loop {
        let mut piece = Vec::with_capacity(size);
        piece.resize(used, 0xa5_u8);
        kept.push(black_box(piece));
    }
}

/// 100 MiB.
pub const VAST: usize = 100 * 1024 * 1024;

/// A text that says it is 100 MiB long, in a memory that is far smaller.
#[allow(dead_code, reason = "not every component returns texts")]
pub fn vast_lie() -> String {
    let start: &'static mut [u8] = Vec::leak(vec![b'x'; 64]);
    // SAFETY: none: it is a lie, for the host to find out. Nothing here reads the text.
    unsafe { String::from_raw_parts(start.as_mut_ptr(), VAST, VAST) }
}

/// A text that is no UTF-8.
#[allow(dead_code, reason = "not every component returns texts")]
pub fn not_utf8() -> String {
    // SAFETY: none: it is a lie, for the host to find out. Nothing here reads the text.
    unsafe { String::from_utf8_unchecked(vec![b'"', 0xff, 0xc0, 0x80, b'"']) }
}
