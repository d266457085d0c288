//! What the operations cost: `cargo run --release -p holdfast-keystore --example speed`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use holdfast_keystore::{Contents, KeyId, KeyStoreName, SystemRandom, Usage};

const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (store, id) = (KeyStoreName::parse("main")?, KeyId::parse("demo")?);
    let mut contents = Contents::new();
    contents.create_key_store(&store, 0, &mut SystemRandom)?;
    contents.create_key(&store, &id, Usage::BOTH, 0, &mut SystemRandom)?;
    let key = contents.key_store("main").and_then(|store| store.key("demo")).ok_or("no key")?;

    for len in [32, 4096] {
        let plaintext = vec![1; len];
        let frame = |metadata: &[u8]| [&[0; 64], metadata].concat();
        let encrypted = key.encrypt(&plaintext, frame, &mut SystemRandom)?;
        let aad = frame(&encrypted.metadata);
        measure(&format!("encrypt {len} bytes"), || {
            black_box(key.encrypt(black_box(&plaintext), frame, &mut SystemRandom)).is_ok()
        });
        measure(&format!("decrypt {len} bytes"), || {
            let e = black_box(&encrypted);
            black_box(key.decrypt(&e.ciphertext, &e.iv, &e.tag, &e.metadata, &aad)).is_ok()
        });
        measure(&format!("verify {len} bytes"), || {
            key.verify(black_box(&encrypted), &aad, &plaintext).is_ok()
        });
    }
    measure("24 random bytes", || {
        holdfast_keystore::Random::fill(&mut SystemRandom, black_box(&mut [0; 24])).is_ok()
    });
    measure("a secret made and dropped", || {
        !black_box(holdfast_secret::Secret::copy_from(&[1; 32])).is_empty()
    });
    Ok(())
}

fn measure(what: &str, mut run: impl FnMut() -> bool) {
    let start = Instant::now();
    let all_ok = (0..ROUNDS).all(|_| run());
    let each = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{what:<28}{each:>6} ns{}", if all_ok { "" } else { " (failed)" });
}
