use proptest::prelude::*;

use super::*;
use crate::fixtures::{contents, key_file, passphrase};
use crate::{SealKind, SystemRandom};

fn label(seal: &Seal) -> Label {
    let params = seal.new_params(&mut SystemRandom).unwrap();
    Label { id: KeystoreId([3; 16]), generation: 7, erasing: false, params }
}

fn sealed(with: &Seal) -> Vec<u8> {
    seal(&contents(), &label(with), with, &mut SystemRandom).unwrap()
}

/// What somebody does who alters a file on purpose.
fn with_right_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - CHECKSUM_LEN;
    let checksum = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn sealed_contents_come_back_under_every_kind_of_seal() {
    for with in [key_file(1), passphrase("correct horse"), Seal::systemd_credential(&[2; 32]).unwrap()] {
        let contents = contents();
        let bytes = seal(&contents, &label(&with), &with, &mut SystemRandom).unwrap();
        let opened = open(&bytes, &with).unwrap();
        assert_eq!(opened.contents, contents);
        assert_eq!((opened.info.generation, opened.info.seal.kind()), (7, with.kind()));
    }
}

#[test]
fn no_secret_and_no_name_is_in_the_clear() {
    let bytes = sealed(&key_file(1));
    for clear in [&[7u8; 32][..], b"demo", b"main", &[b'a'; 43], &[b'A'; 20]] {
        assert!(!bytes.windows(clear.len()).any(|window| window == clear));
    }
}

#[test]
fn two_seals_of_one_content_share_no_key_and_no_nonce() {
    let [a, b] = [0, 1].map(|_| sealed(&key_file(1)));
    let ((a, _), (b, _)) = (parse(&a).unwrap(), parse(&b).unwrap());
    assert_ne!(a.wrapped_key, b.wrapped_key);
    assert_ne!(a.wrap_nonce, b.wrap_nonce);
    assert_ne!(a.nonce, b.nonce);
    assert_ne!(a.text, b.text);
}

#[test]
fn info_needs_no_seal() {
    let bytes = sealed(&passphrase("correct horse"));
    let info = info(&bytes).unwrap();
    assert_eq!((info.id, info.generation, info.erasing), (KeystoreId([3; 16]), 7, false));
    assert_eq!(
        (info.seal.kind(), info.sealed_len, info.checksum_ok),
        (SealKind::Passphrase, bytes.len(), true)
    );
    assert_eq!(info.id.to_string(), "03".repeat(16));
}

#[test]
fn the_wrong_seal_is_not_taken_for_damage() {
    let bytes = sealed(&passphrase("correct horse"));
    assert!(matches!(open(&bytes, &passphrase("battery")), Err(OpenError::WrongSeal(SealKind::Passphrase))));
    assert!(matches!(open(&bytes, &key_file(1)), Err(OpenError::Seal(SealError::OtherKind { .. }))));
    let bytes = sealed(&key_file(1));
    assert!(matches!(open(&bytes, &key_file(2)), Err(OpenError::WrongSeal(SealKind::KeyFile))));
}

#[test]
fn every_flipped_bit_is_damage() {
    let with = key_file(1);
    let bytes = sealed(&with);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = open(&bytes, &with).unwrap_err();
        match bit / 8 {
            0..8 => assert!(matches!(error, OpenError::NotAKeystore)),
            8..10 => assert!(matches!(error, OpenError::Format(_))),
            _ => assert!(matches!(error, OpenError::Damaged(_)), "bit {bit}: {error}"),
        }
    }
}

#[test]
fn every_flipped_bit_under_a_right_checksum_is_refused_by_the_seal() {
    let with = key_file(1);
    let bytes = sealed(&with);
    for bit in 0..(bytes.len() - CHECKSUM_LEN) * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&with_right_checksum(bytes), &with).is_err(), "bit {bit}");
    }
}

#[test]
fn another_generation_on_the_same_contents_is_refused() {
    let with = key_file(1);
    let mut bytes = sealed(&with);
    let at = bytes.windows(8).position(|window| window == 7u64.to_be_bytes()).unwrap();
    bytes[at + 7] = 8;
    assert!(matches!(open(&with_right_checksum(bytes), &with), Err(OpenError::Altered)));
}

#[test]
fn every_truncation_and_extension_is_damage() {
    let with = key_file(1);
    let bytes = sealed(&with);
    for len in 0..bytes.len() {
        let error = open(&bytes[..len], &with).unwrap_err();
        assert!(matches!(error, OpenError::NotAKeystore | OpenError::Damaged(_)), "{len}: {error}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(open(&longer, &with), Err(OpenError::Damaged(_))));
    assert!(open(&with_right_checksum(longer), &with).is_err());
}

#[test]
fn an_hsm_seal_is_refused_by_name_where_another_is_given() {
    let with = key_file(1);
    let mut bytes = sealed(&with);
    bytes[10] = 4;
    let bytes = with_right_checksum(bytes);
    assert_eq!(info(&bytes).unwrap().seal.kind(), SealKind::Hsm);
    assert!(matches!(
        open(&bytes, &with),
        Err(OpenError::Seal(SealError::OtherKind { sealed_by: SealKind::Hsm, .. }))
    ));
}

#[test]
fn an_anchor_refuses_the_old_and_the_other() {
    let info = info(&sealed(&key_file(1))).unwrap();
    assert_eq!(info.anchor().check(&info), Ok(()));
    let newer = Anchor { generation: 8, ..info.anchor() };
    assert_eq!(newer.check(&info), Err(Refusal::Rollback { known: 8, found: 7 }));
    let other = Anchor { id: KeystoreId([4; 16]), ..info.anchor() };
    assert!(matches!(other.check(&info), Err(Refusal::OtherKeystore { .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes, &key_file(1)).is_err());
    }

    #[test]
    fn arbitrary_bytes_after_the_magic_are_errors(bytes in proptest::collection::vec(any::<u8>(), 32..400)) {
        let bytes = with_right_checksum([MAGIC.as_slice(), &FORMAT.to_be_bytes(), &bytes].concat());
        prop_assert!(open(&bytes, &key_file(1)).is_err());
    }

    #[test]
    fn arbitrary_headers_are_errors(
        kind in 0u8..6, params in proptest::collection::vec(any::<u8>(), 0..40), bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let head = [MAGIC.as_slice(), &FORMAT.to_be_bytes(), &[kind, params.len() as u8], &params].concat();
        prop_assert!(open(&[head, bytes].concat(), &key_file(1)).is_err());
    }

    #[test]
    fn several_changes_are_errors(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 1u8..), 1..8), checksum in any::<bool>(),
    ) {
        let with = key_file(1);
        let bytes = sealed(&with);
        let mut altered = bytes.clone();
        for (index, change) in changes {
            let at = index.index(bytes.len() - CHECKSUM_LEN);
            altered[at] ^= change;
        }
        prop_assume!(altered != bytes);
        let altered = if checksum { with_right_checksum(altered) } else { altered };
        prop_assert!(open(&altered, &with).is_err());
    }
}
