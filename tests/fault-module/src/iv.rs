//! IVs that "the HSM" makes.

use crate::module::{Module, lock};
use crate::rules::{IvFault, Rules};

/// A random IV, or what the rules have in its place.
pub fn make(module: &Module, rules: &Rules, length: usize) -> Vec<u8> {
    let last = lock(&module.last_iv).clone();
    let iv = match rules.iv {
        Some(IvFault::Zero) => vec![0; length],
        Some(IvFault::Repeat) if last.len() == length => last,
        _ => random(length),
    };
    remember(module, &iv);
    iv
}

/// So that it can be repeated.
pub fn remember(module: &Module, iv: &[u8]) {
    *lock(&module.last_iv) = iv.to_vec();
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    // SAFETY: the buffer is as long as said. Up to 256 bytes come whole, once the kernel has its seed.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), length, 0) };
    assert!(usize::try_from(got) == Ok(length), "getrandom gave {got} of {length} bytes");
    bytes
}
