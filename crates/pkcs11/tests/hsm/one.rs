//! One HSM without faults.

use crate::rig::{AAD, BOTH, Part, Rig, TEXT, eventually, frame};
use holdfast_pkcs11::{BackendError, Encrypted, KeyDescription, Status, wait};
use holdfast_test_tokens::{Function, Token};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn what_is_encrypted_decrypts_and_what_is_altered_does_not() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["one"], isolation) else { return };
        let fleet = &rig.fleet;
        assert_eq!(rig.status(), Status::Active);
        assert_eq!(fleet.health()[0].model, "SoftHSM v2");
        assert_eq!(fleet.health()[0].serial, rig.parts[0].token.serial().trim());
        let described = KeyDescription { encrypt: true, decrypt: true, enabled: true };
        assert_eq!(fleet.describe("demo").unwrap(), described);
        assert_eq!(fleet.key_ids(), ["demo"]);
        let made = wait(fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), false, soon())).unwrap();
        assert_eq!((made.ciphertext.len(), made.iv.len(), made.tag.len()), (TEXT.len(), 12, 16));
        assert_eq!(made.metadata, [2, 0, 0, 0, 1]);
        assert_eq!(&*made.hsm, "one");
        let framed = frame(AAD, &made.metadata);
        let opened = wait(fleet.decrypt("demo", made.sealed(), AAD, &framed, soon())).unwrap();
        assert_eq!(opened.plaintext.as_slice(), TEXT);
        assert_eq!(made.verified, None);
        let verified =
            wait(fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), true, soon())).unwrap();
        let parts = [&framed, &verified.iv, &verified.ciphertext, &verified.tag, TEXT].concat();
        assert_eq!(verified.verified, Some(Sha256::digest(parts).into()));
        let opened = wait(fleet.decrypt("demo", verified.sealed(), AAD, &framed, soon())).unwrap();
        assert_eq!(opened.plaintext.as_slice(), TEXT);

        let refused = |made: &Encrypted, framed: &[u8]| {
            let result = wait(fleet.decrypt("demo", made.sealed(), AAD, framed, soon()));
            assert!(matches!(result, Err(BackendError::InvalidCiphertext)), "{:?}", result.err());
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
        let unknown = wait(fleet.encrypt("other", b"", |metadata| frame(b"", metadata), false, soon()));
        assert!(matches!(unknown, Err(BackendError::KeyNotFound)), "{unknown:?}");
        // The test key isn't for requests.
        assert!(matches!(fleet.describe("holdfast-health"), Err(BackendError::KeyNotFound)));
    }
}

#[test]
fn inputs_of_any_length_go_there_and_back() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["lengths"], isolation) else { return };
        for len in [0, 1, 4300, 65_000] {
            let (text, aad) = (vec![7; len], vec![8; len]);
            let framed = |metadata: &[u8]| frame(&aad, metadata);
            let made = wait(rig.fleet.encrypt("demo", &text, framed, false, soon())).unwrap();
            let opened =
                wait(rig.fleet.decrypt("demo", made.sealed(), &aad, &framed(&made.metadata), soon()))
                    .unwrap();
            assert_eq!(opened.plaintext.as_slice(), text);
        }
    }
}

#[test]
fn an_encryption_is_one_init_and_one_call() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["calls"], isolation, |_, settings| {
            settings.check_interval = Duration::from_secs(600)
        }) else {
            return;
        };
        eventually(|| rig.encrypt());
        let functions = [
            Function::C_EncryptInit,
            Function::C_Encrypt,
            Function::C_FindObjectsInit,
            Function::C_OpenSession,
        ];
        let before = functions.map(|function| rig.faults().calls(function));
        for _ in 0..20 {
            eventually(|| rig.encrypt());
        }
        let after = functions.map(|function| rig.faults().calls(function));
        assert!((20..30).contains(&(after[0] - before[0])), "{before:?} {after:?}");
        assert_eq!(after[0] - before[0], after[1] - before[1]);
        assert_eq!(after[2], before[2]);
        // A session is opened at most once each.
        assert!(after[3] - before[3] <= 4);
    }
}

#[test]
fn an_end_of_the_fleet_ends_its_processes_and_threads() {
    let Some(rig) = Rig::new(&["end"], holdfast_pkcs11::Isolation::Process) else { return };
    let own = std::process::id();
    let others =
        |faults: &holdfast_test_tokens::Faults| faults.processes().iter().any(|process| *process != own);
    let Rig { fleet, parts, state: _state } = rig;
    assert!(others(&parts[0].faults));
    drop(fleet);
    let end = Instant::now() + Duration::from_secs(20);
    while others(&parts[0].faults) {
        assert!(Instant::now() < end, "a worker process outlives its fleet");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn altered_ciphertexts_are_told_from_a_failing_hsm_without_a_test_key_too() {
    for isolation in BOTH {
        let Some(token) = Token::softhsm2("no-test-key") else { return };
        let rig = Rig::start(vec![Part::new(token)], isolation, |_, settings| {
            settings.hsms[0].create_test_key = false;
        });
        let made = eventually(|| rig.encrypt());
        let altered = Encrypted { tag: vec![0; 16], ..made.clone() };
        assert!(
            rig.until(|rig| matches!(rig.decrypt(&altered), Err(BackendError::InvalidCiphertext))),
            "{:?}",
            rig.decrypt(&altered)
        );
        assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
    }
}
