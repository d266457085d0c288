//! One HSM in threads: SoftHSM2.

mod support;

use holdfast_pkcs11::{Encrypted, Error, Fleet, FleetSettings, Sealed, Status, wait};
use std::time::Duration;
use support::{create_key, frame, in_threads, process_tokens, soon};

const TOKENS: &[&str] = &["one", "two", "three"];

fn sealed(made: &Encrypted) -> Sealed<'_> {
    Sealed { ciphertext: &made.ciphertext, iv: &made.iv, tag: &made.tag, metadata: &made.metadata }
}

#[test]
fn what_is_encrypted_decrypts_and_what_is_altered_does_not() {
    let Some((tokens, module)) = process_tokens(TOKENS) else { return };
    create_key(&module, "one", "alpha");
    let fleet =
        Fleet::start(FleetSettings::new(vec![in_threads("a", "one", &module)], tokens.folder().join("one")))
            .unwrap();
    assert!(fleet.wait_until(Duration::from_secs(20), |fleet| fleet.can_serve()), "{:?}", fleet.health());
    assert_eq!(fleet.health()[0].status, Status::Active);
    assert_eq!(fleet.health()[0].model, "SoftHSM v2");
    let made =
        wait(fleet.encrypt("alpha", b"plaintext", |metadata| frame(b"aad", metadata), soon())).unwrap();
    assert_eq!((made.ciphertext.len(), made.iv.len(), made.tag.len()), (9, 12, 16));
    assert_eq!(made.metadata, [2, 0, 0, 0, 1]);
    assert_eq!(&*made.hsm, "a");
    let framed = frame(b"aad", &made.metadata);
    let opened = wait(fleet.decrypt("alpha", sealed(&made), b"aad", &framed, soon())).unwrap();
    assert_eq!(opened.plaintext.as_slice(), b"plaintext");
    wait(fleet.verify("alpha", &made, &framed, b"plaintext", soon())).unwrap();

    let refused = |made: &Encrypted, framed: &[u8]| {
        let result = wait(fleet.decrypt("alpha", sealed(made), b"aad", framed, soon()));
        assert!(matches!(result, Err(Error::InvalidCiphertext)), "{:?}", result.err());
    };
    refused(&made, &frame(b"other", &made.metadata));
    for alter in [
        |made: &mut Encrypted| made.ciphertext[0] ^= 1,
        |made: &mut Encrypted| made.iv[0] ^= 1,
        |made: &mut Encrypted| made.tag[0] ^= 1,
        |made: &mut Encrypted| made.tag.truncate(15),
        |made: &mut Encrypted| made.metadata[4] = 9,
        |made: &mut Encrypted| made.metadata.clear(),
    ] {
        let mut altered = made.clone();
        alter(&mut altered);
        refused(&altered, &framed);
    }
    // None of that counts against the HSM.
    assert!(fleet.can_serve());
    let unknown = wait(fleet.encrypt("beta", b"", |metadata| frame(b"", metadata), soon()));
    assert!(matches!(unknown, Err(Error::KeyNotFound)), "{unknown:?}");
}
