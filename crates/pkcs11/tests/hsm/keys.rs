//! Versions, usage, dates, use counts, and ciphertexts of AWS's sample proxy.

use crate::rig::{
    AAD, BOTH, Part, Rig, TEXT, THREADS, decrypt, encrypt, eventually, frame, import_key, start_fleet,
};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::Attribute;
use holdfast_pkcs11::admin::{AdminError, Console, slots, warnings};
use holdfast_pkcs11::{BackendError, Encrypted, Isolation, KeyDescription, KeySettings, Status};
use holdfast_test_tokens::{Token, When, keys};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

fn part(label: &str) -> Option<Part> {
    Token::softhsm2(label).map(Part::new)
}

#[test]
fn a_rotated_key_encrypts_with_its_new_version_and_decrypts_with_all() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["rotates"], isolation) else { return };
        let old = eventually(|| rig.encrypt());
        assert_eq!(old.metadata, [2, 0, 0, 0, 1]);
        let console = Console::open(&rig.parts[0].settings(isolation), rig.state.path()).unwrap();
        assert_eq!(console.rotate("demo").unwrap(), 2);
        let rotated = |rig: &Rig| {
            rig.fleet.check_now();
            rig.encrypt().is_ok_and(|made| made.metadata == [2, 0, 0, 0, 2])
        };
        assert!(rig.until(rotated));
        let new = eventually(|| rig.encrypt());
        assert_eq!(eventually(|| rig.decrypt(&old)), TEXT);
        assert_eq!(eventually(|| rig.decrypt(&new)), TEXT);
        let mut other = new.clone();
        other.metadata = old.metadata.clone();
        assert!(matches!(eventually_fails(|| rig.decrypt(&other)), BackendError::InvalidCiphertext));
        assert!(matches!(console.rotate("nothing"), Err(AdminError::Missing(_))));
    }
}

fn eventually_fails<T>(mut act: impl FnMut() -> Result<T, BackendError>) -> BackendError {
    eventually(|| match act() {
        Err(BackendError::Timeout) => Err(BackendError::Timeout),
        Err(error) => Ok(error),
        Ok(_) => panic!("it succeeded"),
    })
}

#[test]
fn a_retired_version_decrypts_and_no_longer_encrypts() {
    let Some(part) = part("retired") else { return };
    import_key(&part.token, "demo#2");
    let mut rig = Rig::start(vec![part], Isolation::Process, |_, _| ());
    rig.until_active();
    let made = eventually(|| rig.encrypt());
    assert_eq!(made.metadata[4], 2);
    let retire = KeySettings { retired: vec![2], ..KeySettings::default() };
    let keys = BTreeMap::from([("demo".to_owned(), retire)]);
    rig.fleet = start_fleet(&rig.parts, Isolation::Process, rig.state.path(), |_, settings| {
        settings.keys = Some(keys)
    });
    rig.until_active();
    assert_eq!(eventually(|| rig.encrypt()).metadata[4], 1);
    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
}

#[test]
fn usage_and_dates_come_from_the_keys_attributes() {
    let Some(part) = part("attributes") else { return };
    let token = &part.token;
    token.create_key_with("encrypts", &[Attribute::Decrypt(false)]);
    token.create_key_with("decrypts", &[Attribute::Encrypt(false)]);
    let date = |year: &str| cryptoki::types::Date::new_from_str_slice(year, "01", "01").unwrap();
    let public = Attribute::Private(false);
    token.create_key_with("over", &[public.clone(), Attribute::EndDate(date("2001"))]);
    // SoftHSM2 can't read the dates of a private key, which is treated as undated.
    token.create_key_with("unreadable", &[Attribute::EndDate(date("2999"))]);
    token.create_key_with("not-yet", &[public.clone(), Attribute::StartDate(date("2999"))]);
    token.create_key_with(
        "now",
        &[public, Attribute::StartDate(date("2001")), Attribute::EndDate(date("2999"))],
    );
    token.create_key_with("short", &[Attribute::ValueLen(16.into())]);
    let rig = Rig::start(vec![part], Isolation::Process, |_, settings| {
        let keys = ["encrypts", "decrypts", "over", "not-yet", "now", "short", "demo", "unreadable"];
        let mut keys: BTreeMap<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), KeySettings::default())).collect();
        keys.insert(
            "off".into(),
            KeySettings { label: Some("now".into()), disabled: true, ..KeySettings::default() },
        );
        settings.keys = Some(keys);
    });
    rig.until_active();
    let fleet = &rig.fleet;
    let describe = |key: &str| {
        fleet.describe(key).map(|KeyDescription { encrypt, decrypt, enabled }| [encrypt, decrypt, enabled])
    };
    assert_eq!(describe("encrypts").unwrap(), [true, false, true]);
    assert_eq!(describe("decrypts").unwrap(), [false, true, true]);
    // What a date forbids is encrypting: old data is read as before.
    assert_eq!(describe("over").unwrap(), [false, true, true]);
    assert_eq!(describe("not-yet").unwrap(), [false, true, true]);
    assert_eq!(describe("now").unwrap(), [true, true, true]);
    assert_eq!(describe("off").unwrap(), [true, true, false]);
    // AES-128 isn't an external key.
    assert!(matches!(describe("short"), Err(BackendError::KeyNotFound)));

    let made = eventually(|| encrypt(fleet, "now"));
    assert!(matches!(encrypt(fleet, "decrypts"), Err(BackendError::Usage)));
    let of_encrypts = eventually(|| encrypt(fleet, "encrypts"));
    assert!(matches!(decrypt(fleet, "encrypts", &of_encrypts), Err(BackendError::Usage)));
    for key in ["over", "not-yet", "off"] {
        assert!(matches!(encrypt(fleet, key), Err(BackendError::Disabled)), "{key}");
    }
    assert!(matches!(decrypt(fleet, "off", &made), Err(BackendError::Disabled)));
    assert!(matches!(decrypt(fleet, "over", &made), Err(BackendError::InvalidCiphertext)));
    // A date that can't be read forbids nothing.
    eventually(|| encrypt(fleet, "unreadable"));
}

#[test]
fn a_version_stops_encrypting_at_its_limit_across_restarts() {
    let Some(part) = part("limit") else { return };
    let limited = |settings: &mut holdfast_pkcs11::FleetSettings| settings.refuse_after = 5;
    let mut rig = Rig::start(vec![part], Isolation::Process, |_, settings| limited(settings));
    rig.until_active();
    let mut made = None;
    let ended = (0..50).find_map(|_| match rig.encrypt() {
        Ok(one) => {
            made = Some(one);
            None
        }
        Err(BackendError::Timeout) => None,
        Err(error) => Some(error),
    });
    assert!(matches!(ended, Some(BackendError::Failed(why)) if why.contains("rotate the key")));
    rig.fleet =
        start_fleet(&rig.parts, Isolation::Process, rig.state.path(), |_, settings| limited(settings));
    rig.until_active();
    assert!(matches!(rig.encrypt(), Err(BackendError::Failed(_))));
    assert_eq!(eventually(|| rig.decrypt(made.as_ref().unwrap())), TEXT);
}

#[test]
fn a_key_that_is_destroyed_becomes_unknown_and_is_no_fault_of_the_hsm() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["destroyed"], isolation) else { return };
        eventually(|| rig.encrypt());
        rig.parts[0].token.destroy_key("demo");
        assert!(
            rig.until(|rig| matches!(rig.encrypt(), Err(BackendError::KeyNotFound))),
            "{:?}",
            rig.encrypt()
        );
        assert!(rig.fleet.can_serve());
        import_key(&rig.parts[0].token, "demo");
        assert!(rig.until(|rig| rig.encrypt().is_ok()));
    }
}

/// What AWS's sample proxy makes, by its documented layout, with the token's own key.
fn of_the_sample_proxy(token: &Token, aad: Option<&[u8]>, metadata: &[u8]) -> Encrypted {
    let session = token.session();
    let key = keys(&session, "demo")[0];
    let aad_len = u16::try_from(aad.unwrap_or_default().len()).unwrap().to_be_bytes();
    let hash = aad.map(|aad| Sha256::digest(aad).to_vec()).unwrap_or_default();
    let framed = [&aad_len, hash.as_slice(), &[metadata.len() as u8], metadata].concat();
    let mut iv = [0x17; 12];
    let params = GcmParams::new(&mut iv, &framed, 128.into()).unwrap();
    let mut ciphertext = session.encrypt(&Mechanism::AesGcm(params), key, TEXT).unwrap();
    let tag = ciphertext.split_off(TEXT.len());
    Encrypted {
        ciphertext,
        iv: iv.to_vec(),
        tag,
        metadata: metadata.to_vec(),
        verified: None,
        hsm: "sample".into(),
    }
}

#[test]
fn ciphertexts_of_awss_sample_proxy_decrypt_where_that_is_allowed() {
    let Some(rig) =
        Rig::with(&["sample"], Isolation::Process, |_, settings| settings.accept_aws_sample_proxy = true)
    else {
        return;
    };
    let token = &rig.parts[0].token;
    for metadata in [b"".as_slice(), b"v0.0.1"] {
        let made = of_the_sample_proxy(token, Some(AAD), metadata);
        assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
        let mut altered = made.clone();
        altered.tag[3] ^= 1;
        assert!(matches!(eventually_fails(|| rig.decrypt(&altered)), BackendError::InvalidCiphertext));
        for aad in [None, Some(b"".as_slice())] {
            let made = of_the_sample_proxy(token, aad, metadata);
            let sealed = made.sealed();
            let framed = frame(b"", metadata);
            let deadline = || std::time::Instant::now() + crate::rig::PATIENCE;
            let opened =
                holdfast_pkcs11::wait(rig.fleet.decrypt("demo", sealed, b"", &framed, deadline())).unwrap();
            assert_eq!(opened.plaintext.as_slice(), TEXT);
        }
    }
    // New ones are in the specification's form.
    let made = eventually(|| rig.encrypt());
    assert_eq!(made.metadata, [2, 0, 0, 0, 1]);
    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);

    let Some(strict) = Rig::new(&["strict"], Isolation::Process) else { return };
    let made = of_the_sample_proxy(&strict.parts[0].token, Some(AAD), b"v0.0.1");
    assert!(matches!(eventually_fails(|| strict.decrypt(&made)), BackendError::InvalidCiphertext));
}

#[test]
fn an_operator_sees_tokens_and_makes_keys() {
    let Some(part) = part("console") else { return };
    let state = tempfile::tempdir().unwrap();
    let shown = slots(part.faults.module(), true, false).unwrap();
    let slot = shown.iter().find(|slot| slot.token.label == "console").unwrap();
    assert!(slot.aes_gcm.unwrap().encrypt);
    let settings = part.settings(Isolation::Process);
    let console = Console::open(&settings, state.path()).unwrap();
    assert_eq!(console.token().label, "console");
    assert!(console.mechanisms().unwrap().contains(&0x1087));
    console.create_key("fresh", true, true).unwrap();
    assert!(matches!(console.create_key("fresh", true, true), Err(AdminError::Exists(_))));
    assert!(matches!(console.create_key("not/a/key", true, true), Err(AdminError::Name(_))));
    part.token.create_key_with("loose", &[Attribute::Sensitive(false), Attribute::Extractable(true)]);
    let keys = console.keys().unwrap();
    let named = |label: &str| keys.iter().find(|key| key.label == label).unwrap();
    assert_eq!(warnings(named("fresh")), Vec::<&str>::new());
    assert_eq!(warnings(named("loose")).len(), 2);
    let mut done = Vec::new();
    let speed = console.measure(&settings, "fresh", 3, |round| done.push(round)).unwrap();
    assert_eq!(done, [1, 2, 3]);
    assert!(!speed.encrypt.is_zero() && !speed.decrypt.is_zero());
}

#[test]
fn a_label_with_another_key_on_each_hsm_encrypts_nothing_and_says_so() {
    let parts: Option<Vec<_>> = ["one", "other"].into_iter().map(part).collect();
    let Some(parts) = parts else { return };
    for part in &parts {
        part.token.create_key_with("apart", &[]);
    }
    let rig = Rig::start(parts, Isolation::Process, |_, _| ());
    let is_told = |rig: &Rig| {
        let told = |health: &holdfast_pkcs11::Health| matches!(&health.status, Status::Degraded(why) if why.contains("'apart'") && why.contains("check values"));
        rig.fleet.health().iter().all(told)
    };
    assert!(rig.until(is_told), "{:?}", rig.fleet.health());
    assert!(!rig.fleet.describe("apart").unwrap().encrypt);
    assert!(matches!(encrypt(&rig.fleet, "apart"), Err(BackendError::Usage)));
    // The key that is the same on both goes on.
    eventually(|| rig.encrypt());
}

#[test]
fn a_label_that_a_token_has_twice_is_no_key_and_the_others_serve() {
    let Some(part) = part("twice") else { return };
    part.token.create_key_with("double", &[]);
    part.token.create_key_with("double", &[]);
    let rig = Rig::start(vec![part], Isolation::Process, |_, _| ());
    let is_told = |rig: &Rig| matches!(rig.status(), Status::Degraded(why) if why.contains("'double'"));
    assert!(rig.until(is_told), "{:?}", rig.fleet.health());
    assert!(encrypt(&rig.fleet, "double").is_err());
    assert!(!rig.fleet.describe("double").unwrap().encrypt);
    eventually(|| rig.encrypt());
}

#[test]
fn a_label_that_another_key_gets_while_the_host_runs_is_not_that_key() {
    for isolation in BOTH {
        let Some(part) = part("relabelled") else { return };
        part.token.create_key_with("moved", &[Attribute::Modifiable(true)]);
        let rig = Rig::start(vec![part], isolation, |_, _| ());
        let before = eventually(|| encrypt(&rig.fleet, "moved"));
        let session = rig.parts[0].token.session();
        let key = keys(&session, "moved")[0];
        session.update_attributes(key, &[Attribute::Label(b"moved-old".to_vec())]).unwrap();
        rig.parts[0].token.create_key("moved");
        // The next listing is in 10 s, and isn't waited for.
        let mut made = Vec::new();
        let error = loop {
            match encrypt(&rig.fleet, "moved") {
                Ok(one) => made.push(one),
                Err(BackendError::Timeout) => {}
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("another key's"), "{error}");
        assert!(decrypt(&rig.fleet, "moved", &before).is_err());
        let is_told = |rig: &Rig| matches!(rig.status(), Status::Degraded(why) if why.contains("'moved'") && why.contains("another key than before"));
        assert!(rig.until(is_told), "{:?}", rig.status());
        assert!(encrypt(&rig.fleet, "moved").is_err());
        // What was made meanwhile is the first key's: with its label back, all of it opens.
        rig.parts[0].token.destroy_key("moved");
        session.update_attributes(key, &[Attribute::Label(b"moved".to_vec())]).unwrap();
        rig.fleet.check_now();
        for one in made.iter().chain([&before]) {
            assert_eq!(eventually(|| decrypt(&rig.fleet, "moved", one)), TEXT);
        }
        eventually(|| encrypt(&rig.fleet, "moved"));
    }
}

#[test]
fn an_encryption_that_failed_and_was_tried_again_is_two_uses_and_an_error() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["twice-used"], isolation, |_, settings| {
            (settings.warn_after, settings.refuse_after) = (3, 4);
            settings.check_interval = std::time::Duration::from_secs(3600);
        }) else {
            return;
        };
        for _ in 0..2 {
            let _ = rig.faults().fail("C_Encrypt", "CKR_DEVICE_ERROR", When::Next(1));
            rig.encrypt().unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(rig.fleet.health()[0].errors, 2);
        let error = rig.encrypt().unwrap_err();
        assert!(matches!(&error, BackendError::Failed(why) if why.contains("4 times")), "{error}");
    }
}

#[test]
fn a_version_is_made_after_the_one_before_it() {
    let Some(rig) = Rig::new(&["gap"], Isolation::Process) else { return };
    let console = Console::open(&rig.parts[0].settings(THREADS), rig.state.path()).unwrap();
    let error = console.create_key("demo#3", true, true).unwrap_err();
    assert!(error.to_string().contains("demo#2"), "{error}");
    console.create_key("demo#2", true, true).unwrap();
    console.create_key("demo#3", true, true).unwrap();
}

#[test]
fn hsms_that_tell_no_check_values_open_each_others_ciphertexts_before_a_key_serves() {
    let parts: Option<Vec<_>> = ["silent", "mute"].into_iter().map(part).collect();
    let Some(parts) = parts else { return };
    // One that doesn't tell is enough.
    parts[1].faults.no_check_values();
    parts[0].token.import_key("apart", [1; 32], true, true);
    parts[1].token.import_key("apart", [2; 32], true, true);
    let rig = Rig::start(parts, Isolation::Process, |_, _| ());
    let is_told = |rig: &Rig| {
        let told = |health: &holdfast_pkcs11::Health| matches!(&health.status, Status::Degraded(why) if why.contains("'apart'") && why.contains("silent") && why.contains("mute") && why.contains("doesn't open"));
        rig.fleet.health().iter().all(told)
    };
    assert!(rig.until(is_told), "{:?}", rig.fleet.health());
    assert!(!rig.fleet.describe("apart").unwrap().encrypt);
    // The key that is the same on both goes on, on both.
    let mut served = std::collections::BTreeSet::new();
    while served.len() < 2 {
        served.insert(eventually(|| rig.encrypt()).hsm);
    }
}
