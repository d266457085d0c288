use super::*;
use crate::fixtures::{Counting, Dry, key_file, passphrase};

const ID: KeystoreId = KeystoreId([5; 16]);

#[test]
fn a_key_file_is_raw_or_hexadecimal() {
    let hex = "2a".repeat(32);
    let raw = key_file(0x2a).key_encryption_key(&SealParams::KeyFile, &ID).unwrap();
    for content in [hex.clone(), format!("{hex}\n"), format!("{hex}\r\n"), hex.to_uppercase()] {
        let seal = Seal::key_file(content.as_bytes()).unwrap();
        assert_eq!(seal.key_encryption_key(&SealParams::KeyFile, &ID).unwrap(), raw);
    }
}

#[test]
fn other_key_files_are_refused() {
    for content in
        ["", "2a", &"2a".repeat(31), &"2g".repeat(32), &format!(" {}", "2a".repeat(32)), &"é".repeat(32)]
    {
        assert!(matches!(Seal::key_file(content.as_bytes()), Err(SealError::KeyFile(_))), "{content:?}");
    }
}

#[test]
fn a_new_key_file_can_be_read() {
    let content = Seal::new_key_file(&mut Counting(0xf0)).unwrap();
    let text = std::str::from_utf8(content.expose()).unwrap();
    assert!(text.starts_with("f0f1f2") && text.ends_with("0d0e0f\n") && text.len() == 65, "{text}");
    let bytes: Vec<u8> = (0xf0..=0xff).chain(0..16).collect();
    let [a, b] = [content.expose(), &bytes].map(|content| Seal::key_file(content).unwrap());
    assert_eq!(a.root(&SealParams::KeyFile).unwrap(), b.root(&SealParams::KeyFile).unwrap());
    assert!(Seal::new_key_file(&mut Dry).is_err());
}

#[test]
fn a_systemd_credential_is_a_key_file_from_elsewhere() {
    let credential = Seal::systemd_credential(&[7; 32]).unwrap();
    assert_eq!(credential.new_params(&mut Dry).unwrap(), SealParams::SystemdCredential);
    let same = key_file(7).key_encryption_key(&SealParams::SystemdCredential, &ID).unwrap();
    assert_eq!(credential.key_encryption_key(&SealParams::SystemdCredential, &ID).unwrap(), same);
}

#[test]
fn keystores_under_one_seal_have_different_keys() {
    let [a, b] =
        [5, 6].map(|id| key_file(1).key_encryption_key(&SealParams::KeyFile, &KeystoreId([id; 16])).unwrap());
    assert_ne!(a, b);
}

/// Computed with the Python package argon2-cffi (type ID, version 0x13).
#[test]
fn a_passphrase_goes_through_argon2id() {
    let cost = PassphraseCost { memory: 64, passes: 2, lanes: 2 };
    let root = argon2id(&Secret::copy_from(b"correct horse"), &[9; 16], cost).unwrap();
    let hex: String = root.expose().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "4d5910d1bcdae4f17d23fc51399a25bd1219550adf3ffacded10be8fc7aa3e34");
}

#[test]
fn a_derivation_is_kept_for_its_parameters_only() {
    let seal = passphrase("correct horse");
    let [first, second] = [1, 2].map(|start| seal.new_params(&mut Counting(start)).unwrap());
    let key = seal.key_encryption_key(&first, &ID).unwrap();
    assert_eq!(seal.derived.lock().unwrap().as_ref().unwrap().0, first);
    assert_eq!(seal.key_encryption_key(&first, &ID).unwrap(), key);
    assert_ne!(seal.key_encryption_key(&second, &ID).unwrap(), key);
    assert_eq!(seal.key_encryption_key(&first, &ID).unwrap(), key);
}

#[test]
fn a_kept_derivation_is_used() {
    let seal = passphrase("correct horse");
    let params = seal.new_params(&mut Counting(1)).unwrap();
    *seal.derived.lock().unwrap() = Some((params.clone(), Secret::copy_from(&[1; 32])));
    assert_eq!(seal.root(&params).unwrap(), Secret::copy_from(&[1; 32]));
}

#[test]
fn the_wrong_kind_is_named() {
    let params = passphrase("x").new_params(&mut Counting(0)).unwrap();
    let error = key_file(1).key_encryption_key(&params, &ID).unwrap_err();
    assert_eq!(error.to_string(), "the keystore is sealed by a passphrase, but a key-file was given");
    let error = passphrase("x").key_encryption_key(&SealParams::KeyFile, &ID).unwrap_err();
    assert_eq!(error.to_string(), "the keystore is sealed by a key-file, but a passphrase was given");
}

/// Wraps by exclusive or with a byte, and counts how often it is asked to unwrap.
struct Toy {
    key: u8,
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    breaks: bool,
}

impl HsmKey for Toy {
    fn wrap(&self, root: &Secret) -> Result<Vec<u8>, HsmKeyError> {
        Ok([&[self.key], root.expose().iter().map(|byte| byte ^ self.key).collect::<Vec<_>>().as_slice()]
            .concat())
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, HsmKeyError> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match wrapped.split_first() {
            Some((key, root)) if *key == self.key => {
                let flip = if self.breaks { 1 } else { 0 };
                Ok(Secret::copy_from(&root.iter().map(|byte| byte ^ self.key ^ flip).collect::<Vec<_>>()))
            }
            _ => Err(HsmKeyError::OtherKey("it has another number".into())),
        }
    }
}

fn toy(key: u8) -> (Seal, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let asked = std::sync::Arc::default();
    (Seal::hsm(Box::new(Toy { key, asked: std::sync::Arc::clone(&asked), breaks: false })), asked)
}

#[test]
fn an_hsms_key_is_asked_once_for_the_same_parameters() {
    let (seal, _) = toy(7);
    let params = seal.new_params(&mut Counting(1)).unwrap();
    assert_eq!(params.kind(), SealKind::Hsm);
    let key = seal.key_encryption_key(&params, &ID).unwrap();
    let (later, asked) = toy(7);
    for _ in 0..3 {
        assert_eq!(later.key_encryption_key(&params, &ID).unwrap(), key);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_ne!(seal.new_params(&mut Counting(9)).unwrap(), params, "a new root each time");
}

#[test]
fn another_hsm_key_and_other_kinds_do_not_open_an_hsm_seal() {
    let params = toy(7).0.new_params(&mut Counting(1)).unwrap();
    let error = toy(8).0.key_encryption_key(&params, &ID).unwrap_err();
    assert!(matches!(error, SealError::Hsm(HsmKeyError::OtherKey(_))), "{error}");
    let error = key_file(1).key_encryption_key(&params, &ID).unwrap_err();
    assert_eq!(error.to_string(), "the keystore is sealed by a hsm, but a key-file was given");
    assert!(toy(7).0.key_encryption_key(&SealParams::KeyFile, &ID).is_err());
}

#[test]
fn nothing_is_sealed_that_the_hsm_does_not_open_again() {
    let broken = Seal::hsm(Box::new(Toy { key: 1, asked: std::sync::Arc::default(), breaks: true }));
    let error = broken.new_params(&mut Counting(1)).unwrap_err();
    assert!(matches!(error, SealError::Hsm(HsmKeyError::Wrong)), "{error}");
}

#[test]
fn parameters_come_back() {
    let params = passphrase("x").new_params(&mut Counting(0)).unwrap();
    for params in [params, SealParams::KeyFile, SealParams::SystemdCredential, SealParams::Hsm(vec![1, 2])] {
        assert_eq!(SealParams::decode(params.kind() as u8, &params.encode()).unwrap(), params);
    }
    assert_eq!(SealParams::decode(1, &[0; 27]), None);
    assert_eq!(SealParams::decode(2, &[0]), None);
    assert_eq!(SealParams::decode(0, &[]), None);
    assert_eq!(SealParams::decode(5, &[]), None);
}

#[test]
fn costs_beyond_reason_are_refused_before_they_cost() {
    for (memory, passes, lanes) in [
        (7, 1, 1),
        (64, 0, 1),
        (64, 1, 0),
        (64, 1, 9),
        (u32::MAX, 1, 1),
        (1 << 20, 5, 1),
        (1 << 20, 1, u32::MAX),
    ] {
        let cost = PassphraseCost { memory, passes, lanes };
        assert!(matches!(cost.check(), Err(SealError::Cost(_))), "{cost}");
        let params = SealParams::Passphrase { salt: [0; 16], cost };
        assert!(passphrase("x").key_encryption_key(&params, &ID).is_err(), "{cost}");
    }
    PassphraseCost::RECOMMENDED.check().unwrap();
}

#[test]
fn an_empty_passphrase_is_refused() {
    assert!(matches!(Seal::passphrase(Secret::copy_from(b"")), Err(SealError::EmptyPassphrase)));
}

#[test]
fn debug_shows_no_passphrase() {
    assert!(!format!("{:?}", passphrase("correct horse")).contains("horse"));
}
