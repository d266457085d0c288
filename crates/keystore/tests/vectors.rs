//! The committed files of testdata/, which docs/keystore-format.md describes: what is written today is the same, and
//! what was written then opens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the functions beside the tests too

use std::fs;
use std::path::PathBuf;

use holdfast_keystore::sealed::{self, Label};
use holdfast_keystore::{
    AccessKeyId, Contents, KeyId, KeyStoreName, KeystoreId, PassphraseCost, Random, RandomError, Seal,
    SecretAccessKey, Status, Usage,
};
use holdfast_secret::Secret;

/// Random bytes that count up from 0.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

fn contents(random: &mut Counting) -> Contents {
    let (main, second) = (KeyStoreName::parse("main").unwrap(), KeyStoreName::parse("second").unwrap());
    let (demo, old) = (KeyId::parse("demo").unwrap(), KeyId::parse("old.key").unwrap());
    let mut contents = Contents::new();
    contents.create_key_store(&main, 1_700_000_000, random).unwrap();
    contents.create_key(&main, &demo, Usage::BOTH, 1_700_000_001, random).unwrap();
    contents.rotate_key(&main, &demo, 1_700_000_002, random).unwrap();
    contents.import_version(&main, &old, &[0x55; 32], 1_700_000_003).unwrap();
    contents.set_key_status(&main, &old, Status::Disabled).unwrap();
    let secret = SecretAccessKey::parse("ab/+=".repeat(9).as_bytes()).unwrap();
    let access_key_id = AccessKeyId::parse("ABCDEFGHIJKLMNOPQR234567").unwrap();
    contents.add_credential(&main, &access_key_id, secret, 1_700_000_004).unwrap();
    contents.create_key_store(&second, 1_700_000_005, random).unwrap();
    contents
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn check(name: &str, seal: Seal) {
    let random = &mut Counting(0);
    let contents = contents(random);
    let params = seal.new_params(random).unwrap();
    let label = Label { id: KeystoreId(*b"keystore vectors"), generation: 41, erasing: false, params };
    let bytes = sealed::seal(&contents, &label, &seal, random).unwrap();
    if std::env::var_os("HOLDFAST_WRITE_VECTORS").is_some() {
        fs::write(path(name), hex(&bytes)).unwrap();
    }
    let committed = unhex(&fs::read_to_string(path(name)).unwrap());
    let opened = sealed::open(&committed, &seal).unwrap();
    assert_eq!(opened.contents, contents);
    assert_eq!(opened.info.generation, 41);
    assert_eq!(hex(&bytes), hex(&committed), "the format changed");
}

#[test]
fn the_key_file_vector_is_what_is_written() {
    check("key-file.hex", Seal::key_file(&[0x42; 32]).unwrap());
}

#[test]
fn the_passphrase_vector_is_what_is_written() {
    let cost = PassphraseCost { memory: 1024, passes: 2, lanes: 2 };
    let passphrase = Secret::copy_from(b"correct horse battery staple");
    check("passphrase.hex", Seal::passphrase_with_cost(passphrase, cost).unwrap());
}
