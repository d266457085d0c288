use super::*;
use crate::fixtures::{Counting, Dry};

fn key() -> Key {
    let version = Version::generate(1, 0, &mut Counting(0)).unwrap();
    Key { usage: Usage::BOTH, status: Status::Enabled, created: 0, versions: vec![version] }
}

fn imported(number: u32, material: Vec<u8>) -> Version {
    let kind = MaterialKind::ImportedAes256Gcm;
    Version { number, kind, created: 0, material: Secret::copy_from(&material) }
}

/// A frame that contains the metadata, as the XKS specification's does.
fn frame(metadata: &[u8]) -> Vec<u8> {
    [b"frame", metadata].concat()
}

fn decrypt(key: &Key, encrypted: &Encrypted) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Encrypted { ciphertext, iv, tag, metadata } = encrypted;
    key.decrypt(ciphertext, iv, tag, metadata, &frame(metadata))
}

#[test]
fn what_was_encrypted_decrypts() {
    for len in [0, 1, 16, 32, 4300] {
        let plaintext = vec![9; len];
        let encrypted = key().encrypt(&plaintext, frame, &mut Counting(0)).unwrap();
        assert_eq!(encrypted.ciphertext.len(), len);
        assert_eq!(*decrypt(&key(), &encrypted).unwrap(), plaintext);
    }
}

#[test]
fn the_nonce_is_split_between_metadata_and_iv() {
    let encrypted = key().encrypt(b"text", frame, &mut Counting(100)).unwrap();
    let halves: Vec<u8> = (100..124).collect();
    assert_eq!(encrypted.metadata, [&[1, 0, 0, 0, 1], &halves[..12]].concat());
    assert_eq!(encrypted.iv, halves[12..]);
}

#[test]
fn nonces_are_fresh() {
    let random = &mut crate::SystemRandom;
    let [a, b] = [0, 1].map(|_| key().encrypt(b"text", frame, random).unwrap());
    assert_ne!(a.iv, b.iv);
    assert_ne!(a.metadata, b.metadata);
    assert_ne!(a.ciphertext, b.ciphertext);
}

#[test]
fn any_altered_bit_is_refused() {
    let encrypted = key().encrypt(b"some plaintext", frame, &mut Counting(0)).unwrap();
    let aad = frame(&encrypted.metadata);
    let parts: [&[u8]; 5] = [&encrypted.ciphertext, &encrypted.iv, &encrypted.tag, &encrypted.metadata, &aad];
    for altered in 0..parts.len() {
        for bit in 0..parts[altered].len() * 8 {
            let mut parts = parts.map(<[u8]>::to_vec);
            parts[altered][bit / 8] ^= 1 << (bit % 8);
            let [ciphertext, iv, tag, metadata, aad] = &parts;
            let result = key().decrypt(ciphertext, iv, tag, metadata, aad);
            assert!(matches!(result, Err(KeyError::InvalidCiphertext)), "part {altered}, bit {bit}");
        }
    }
}

#[test]
fn any_wrong_length_is_refused() {
    let Encrypted { ciphertext, iv, tag, metadata } =
        key().encrypt(b"text", frame, &mut Counting(0)).unwrap();
    let aad = frame(&metadata);
    for len in 0..40 {
        let cut =
            |bytes: &[u8]| bytes.iter().copied().chain(std::iter::repeat(0)).take(len).collect::<Vec<u8>>();
        let wrong = |result: Result<_, KeyError>| matches!(result, Err(KeyError::InvalidCiphertext));
        assert!(
            len == ciphertext.len() || wrong(key().decrypt(&cut(&ciphertext), &iv, &tag, &metadata, &aad))
        );
        assert!(len == iv.len() || wrong(key().decrypt(&ciphertext, &cut(&iv), &tag, &metadata, &aad)));
        assert!(len == tag.len() || wrong(key().decrypt(&ciphertext, &iv, &cut(&tag), &metadata, &aad)));
        assert!(len == metadata.len() || wrong(key().decrypt(&ciphertext, &iv, &tag, &cut(&metadata), &aad)));
    }
}

#[test]
fn older_versions_still_decrypt() {
    let mut key = key();
    let old = key.encrypt(b"old", frame, &mut Counting(0)).unwrap();
    key.versions.push(Version::generate(2, 0, &mut Counting(50)).unwrap());
    let new = key.encrypt(b"new", frame, &mut Counting(0)).unwrap();
    assert_eq!(new.metadata[..5], [1, 0, 0, 0, 2]);
    assert_eq!(**decrypt(&key, &old).unwrap(), *b"old");
    assert_eq!(**decrypt(&key, &new).unwrap(), *b"new");
}

#[test]
fn an_unknown_version_is_an_invalid_ciphertext() {
    let mut newer = key();
    newer.versions.push(Version::generate(2, 0, &mut Counting(50)).unwrap());
    let encrypted = newer.encrypt(b"new", frame, &mut Counting(0)).unwrap();
    assert!(matches!(decrypt(&key(), &encrypted), Err(KeyError::InvalidCiphertext)));
}

#[test]
fn usage_and_status_bind_each_operation() {
    let encrypted = key().encrypt(b"text", frame, &mut Counting(0)).unwrap();
    for (encrypts, decrypts) in [(false, false), (false, true), (true, false), (true, true)] {
        let key = Key { usage: Usage { encrypt: encrypts, decrypt: decrypts }, ..key() };
        let encryption = key.encrypt(b"text", frame, &mut Counting(0));
        assert_eq!(matches!(encryption, Err(KeyError::Usage)), !encrypts);
        assert_eq!(matches!(decrypt(&key, &encrypted), Err(KeyError::Usage)), !decrypts);
    }
    let disabled = Key { status: Status::Disabled, ..key() };
    assert!(matches!(disabled.encrypt(b"text", frame, &mut Counting(0)), Err(KeyError::Disabled)));
    assert!(matches!(decrypt(&disabled, &encrypted), Err(KeyError::Disabled)));
}

#[test]
fn a_fresh_ciphertext_is_verified_whatever_the_usage() {
    let key = Key { usage: Usage { encrypt: true, decrypt: false }, ..key() };
    let mut encrypted = key.encrypt(b"text", frame, &mut Counting(0)).unwrap();
    let aad = frame(&encrypted.metadata);
    key.verify(&encrypted, &aad, b"text").unwrap();
    assert!(matches!(key.verify(&encrypted, &aad, b"Text"), Err(KeyError::Verification)));
    encrypted.ciphertext[0] ^= 1;
    assert!(matches!(key.verify(&encrypted, &aad, b"text"), Err(KeyError::Verification)));
}

#[test]
fn without_randomness_nothing_is_encrypted() {
    assert!(matches!(key().encrypt(b"text", frame, &mut Dry), Err(KeyError::Random(_))));
}

/// Computed with the Python package cryptography: AESGCM(bytes(range(32))).encrypt(iv, b"from elsewhere", b"frame").
const FROM_ELSEWHERE: [(usize, &[u8; 14], &[u8; 16]); 2] = [
    (
        12,
        &[0x21, 0x70, 0xb9, 0x76, 0xe5, 0x80, 0xae, 0x68, 0xe8, 0x36, 0xff, 0xee, 0xc3, 0x8c],
        &[0x96, 0x18, 0x05, 0x7f, 0xe4, 0xfe, 0x52, 0x3e, 0x1c, 0xde, 0xba, 0xbf, 0xaf, 0x29, 0x60, 0x61],
    ),
    (
        16,
        &[0x01, 0x1e, 0xcf, 0x1b, 0x19, 0x81, 0x26, 0x5b, 0xf8, 0x88, 0xb3, 0x4c, 0x27, 0xc1],
        &[0x3b, 0x9b, 0x11, 0xc4, 0x1c, 0xdf, 0x87, 0x60, 0x56, 0x99, 0x9f, 0x0f, 0x6e, 0xae, 0x47, 0xef],
    ),
];

#[test]
fn imported_material_decrypts_what_others_encrypted() {
    let mut key = key();
    key.versions.extend([imported(2, vec![9; 32]), imported(3, (0..32).collect())]);
    for (iv_len, ciphertext, tag) in FROM_ELSEWHERE {
        let iv: Vec<u8> = (0..iv_len as u8).collect();
        // Whatever metadata the others used, if any: even one that looks like ours.
        for metadata in
            [vec![], vec![1; 17], vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![5; 20]]
        {
            assert_eq!(**key.decrypt(ciphertext, &iv, tag, &metadata, b"frame").unwrap(), *b"from elsewhere");
        }
        assert!(matches!(key.decrypt(ciphertext, &iv, tag, b"", b"Frame"), Err(KeyError::InvalidCiphertext)));
    }
}

#[test]
fn imported_material_never_encrypts() {
    let mut key = key();
    key.versions.push(imported(2, vec![9; 32]));
    let encrypted = key.encrypt(b"text", frame, &mut Counting(0)).unwrap();
    assert_eq!(encrypted.metadata[..5], [1, 0, 0, 0, 1]);
    key.versions.remove(0);
    assert!(matches!(key.encrypt(b"text", frame, &mut Counting(0)), Err(KeyError::Usage)));
}
