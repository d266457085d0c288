//! What SoftHSM2 itself costs an encryption: one thread, one session, a cached handle.

#[path = "../tests/support/mod.rs"]
mod support;

use holdfast_pkcs11::module::{KeyTemplate, Module};
use holdfast_pkcs11::{Iv, Quirks};
use holdfast_secret::Secret;
use std::time::Instant;

fn main() {
    let Some((_tokens, path)) = support::process_tokens(&["hot"]) else { return };
    let module = Module::load(&path, true).unwrap();
    let slot = module
        .slots()
        .unwrap()
        .into_iter()
        .find(|slot| module.token_info(*slot).unwrap().label == "hot")
        .unwrap();
    println!("{:?} {:?}", module.token_info(slot).unwrap(), module.aes_gcm_info(slot));
    println!("{:?}", module.has_message_functions());
    let session = module.open_session(slot, true).unwrap();
    module.login(session, &Secret::copy_from(support::PIN.as_bytes())).unwrap();
    let key =
        module.create_aes_key(session, &KeyTemplate { label: "k", encrypt: true, decrypt: true }).unwrap();
    println!("{:?}", module.key_attributes(session, key));
    let quirks = Quirks::default();
    let mut iv = Iv::random().unwrap();
    let sealed = module.gcm_encrypt(session, key, &quirks, &mut iv, b"aad", &[7; 32]).unwrap();
    assert_eq!(module.gcm_decrypt(session, key, &quirks, &iv, b"aad", &sealed).unwrap().as_slice(), [7; 32]);
    println!("altered aad: {:?}", module.gcm_decrypt(session, key, &quirks, &iv, b"aae", &sealed));
    let mut altered = sealed.clone();
    altered[40] ^= 1;
    println!("altered tag: {:?}", module.gcm_decrypt(session, key, &quirks, &iv, b"aad", &altered));
    println!("too short: {:?}", module.gcm_decrypt(session, key, &quirks, &iv, b"aad", &sealed[..10]));
    println!("bad key: {:?}", module.gcm_decrypt(session, 4711, &quirks, &iv, b"aad", &sealed));
    println!("bad session: {:?}", module.gcm_decrypt(4711, key, &quirks, &iv, b"aad", &sealed));
    let rounds = 100_000;
    let start = Instant::now();
    for _ in 0..rounds {
        let mut iv = Iv::random().unwrap();
        module.gcm_encrypt(session, key, &quirks, &mut iv, b"aad", &[7; 32]).unwrap();
    }
    println!("{:.2} us an encrypt", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
}
