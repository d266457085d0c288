//! What several modules' tests start from.

use crate::{
    AccessKeyId, Contents, KeyId, KeyStoreName, PassphraseCost, Random, RandomError, Seal, SecretAccessKey,
    Usage,
};
use holdfast_secret::Secret;

/// Bytes that count up, so that a test knows them.
pub struct Counting(pub u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

/// A source that has run dry.
pub struct Dry;

impl Random for Dry {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError { reason: "dry".to_owned() })
    }
}

pub fn store(name: &str) -> KeyStoreName {
    KeyStoreName::parse(name).unwrap()
}

pub fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

pub fn access_key_id(letter: char) -> AccessKeyId {
    AccessKeyId::parse(&letter.to_string().repeat(20)).unwrap()
}

pub fn secret(letter: char) -> SecretAccessKey {
    SecretAccessKey::parse(letter.to_string().repeat(43).as_bytes()).unwrap()
}

/// Key store `main` with key `demo` and one credential, key store `other` with key `old` (imported, rotated).
pub fn contents() -> Contents {
    let random = &mut crate::SystemRandom;
    let mut contents = Contents::new();
    contents.create_key_store(&store("main"), 1, random).unwrap();
    contents.create_key(&store("main"), &id("demo"), Usage::BOTH, 2, random).unwrap();
    contents.add_credential(&store("main"), &access_key_id('A'), secret('a'), 3).unwrap();
    contents.create_key_store(&store("other"), 4, random).unwrap();
    contents.import_version(&store("other"), &id("old"), &[7; 32], 5).unwrap();
    contents.rotate_key(&store("other"), &id("old"), 6, random).unwrap();
    contents
}

pub fn key_file(byte: u8) -> Seal {
    Seal::key_file(&[byte; 32]).unwrap()
}

pub fn passphrase(text: &str) -> Seal {
    let cost = PassphraseCost { memory: 8, passes: 1, lanes: 1 };
    Seal::passphrase_with_cost(Secret::copy_from(text.as_bytes()), cost).unwrap()
}
