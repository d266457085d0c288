use proptest::prelude::*;

use super::*;
use crate::fixtures::{access_key_id, contents, id, store};
use crate::{Contents, MaterialKind};

#[test]
fn contents_come_back() {
    for contents in [Contents::new(), contents()] {
        assert_eq!(decode(encode(&contents).expose()).unwrap(), contents);
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = encode(&contents());
    for len in 0..bytes.len() {
        assert!(decode(&bytes.expose()[..len]).is_err(), "{len}");
    }
}

#[test]
fn anything_after_the_end_is_an_error() {
    let bytes = [encode(&contents()).expose(), &[0]].concat();
    assert!(matches!(decode(&bytes), Err(EncodingError::Invalid { .. })));
}

/// The encoding of contents that no change could make.
fn encoding_of(change: impl FnOnce(&mut Contents)) -> Result<Contents, EncodingError> {
    let mut contents = contents();
    change(&mut contents);
    decode(encode(&contents).expose())
}

#[test]
fn contents_against_the_rules_are_errors() {
    fn main(contents: &mut Contents) -> &mut KeyStore {
        contents.key_stores.get_mut("main").unwrap()
    }
    fn demo(contents: &mut Contents) -> &mut Key {
        main(contents).keys.get_mut("demo").unwrap()
    }
    assert!(encoding_of(|c| demo(c).versions.clear()).is_err());
    assert!(encoding_of(|c| demo(c).versions[0].number = 0).is_err());
    assert!(encoding_of(|c| demo(c).versions[0].kind = MaterialKind::ImportedAes256Gcm).is_err());
    assert!(encoding_of(|c| demo(c).versions.push(demo(&mut contents()).versions[0].clone())).is_err());
    assert!(
        encoding_of(|c| {
            let version = Version { kind: MaterialKind::ImportedAes256Gcm, ..demo(c).versions[0].clone() };
            demo(c).versions.extend((2..11).map(|number| Version { number, ..version.clone() }));
        })
        .is_err()
    );
    // An access key id, and a secret, of two key stores.
    assert!(
        encoding_of(|c| {
            let credentials = main(c).credentials.clone();
            c.key_stores.get_mut("other").unwrap().credentials = credentials;
        })
        .is_err()
    );
    assert!(
        encoding_of(|c| {
            let credential = main(c).credentials.values().next().unwrap().clone();
            main(c).credentials.insert(access_key_id('B'), credential);
        })
        .is_err()
    );
    assert!(encoding_of(|_| ()).is_ok());
}

#[test]
fn names_out_of_order_are_errors() {
    let random = &mut crate::SystemRandom;
    let mut contents = Contents::new();
    for name in ["a", "b"] {
        contents.create_key_store(&store(name), 0, random).unwrap();
    }
    let mut bytes = encode(&contents).expose().to_vec();
    assert_eq!(bytes[3], b'a');
    bytes[3] = b'b';
    assert!(decode(&bytes).is_err());
    bytes[3] = b'c';
    assert!(decode(&bytes).is_err());
}

#[test]
fn huge_counts_are_errors_and_reserve_nothing() {
    let mut contents = Contents::new();
    contents.create_key_store(&store("a"), 0, &mut crate::SystemRandom).unwrap();
    let bytes = encode(&contents);
    let mut bytes = bytes.expose().to_vec();
    // The number of keys stands before the number of credentials, which ends it.
    let at = bytes.len() - 6;
    bytes[at..at + 4].fill(0xff);
    assert!(decode(&bytes).is_err());
    bytes[0..2].fill(0xff);
    assert!(decode(&bytes).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        // One encoding for one content: what is read is what would be written.
        if let Ok(contents) = decode(&bytes) {
            prop_assert_eq!(encode(&contents).expose().to_vec(), bytes);
        }
    }

    #[test]
    fn altered_bytes_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut contents = contents();
        contents.destroy_key(&store("main"), &id("demo")).unwrap();
        let mut bytes = encode(&contents).expose().to_vec();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(contents) = decode(&bytes) {
            prop_assert_eq!(encode(&contents).expose().to_vec(), bytes);
        }
    }
}
