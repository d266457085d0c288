//! The keystore's file: no panic, and nothing that wasn't sealed opens.
#![no_main]

use holdfast_keystore::{Seal, sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sealed::info(bytes);
    let seal = Seal::key_file(&[7; 32]).expect("a seal");
    assert!(sealed::open(bytes, &seal).is_err(), "bytes that nobody sealed were opened");
});
