//! Several HSMs with the same keys: when one fails, callers don't notice.

use crate::rig::{AAD, BOTH, PATIENCE, Part, Rig, TEXT, eventually, frame, import_key};
use holdfast_pkcs11::{BackendError, FleetSettings, Isolation, Status, wait};
use holdfast_test_tokens::{Crash, Rule, Token, When};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn active(rig: &Rig, index: usize) -> bool {
    rig.fleet.health()[index].status == Status::Active
}

#[test]
fn the_load_is_shared_and_the_result_names_who_served() {
    let Some(rig) = Rig::new(&["first", "second"], Isolation::Process) else { return };
    for part in &rig.parts {
        let _ = part.faults.delay("C_Encrypt", Duration::from_millis(5));
    }
    let served: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..20).map(|_| eventually(|| rig.encrypt()).hsm.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::new();
    for name in served {
        *counts.entry(name).or_insert(0) += 1;
    }
    assert!(counts["first"] >= 20 && counts["second"] >= 20, "{counts:?}");
}

#[test]
fn what_one_encrypts_the_other_decrypts() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["first", "second"], isolation) else { return };
        let made = eventually(|| rig.encrypt());
        let other = if &*made.hsm == "first" { "second" } else { "first" };
        let served = rig.parts.iter().position(|part| part.token.label() == &*made.hsm).unwrap();
        rig.parts[served].faults.remove_token();
        assert!(rig.until(|rig| {
            rig.fleet.check_now();
            !active(rig, served)
        }));
        assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
        assert_eq!(&*eventually(|| rig.encrypt()).hsm, other);
    }
}

/// All requests are answered rightly while one of two HSMs has a fault, which leaves service and comes back.
fn fails_over(what: &str, isolation: Isolation, begin: fn(&Part) -> Option<Rule>) {
    let Some(rig) = Rig::with(&["good", "bad"], isolation, |_, settings| {
        // More than a hang lasts: what the good one does is never given up because the machine is busy.
        settings.attempt_time = Duration::from_secs(5);
    }) else {
        return;
    };
    let made = eventually(|| rig.encrypt());
    let rule = begin(&rig.parts[1]);
    let began = Instant::now();
    let results: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    while began.elapsed() < Duration::from_secs(2) {
                        let asked = Instant::now();
                        let framed = |metadata: &[u8]| frame(AAD, metadata);
                        let encrypted = rig.fleet.encrypt("demo", TEXT, framed, false, asked + PATIENCE);
                        results.push((wait(encrypted).map(|_| ()), asked.elapsed()));
                        let asked = Instant::now();
                        let framed = frame(AAD, &made.metadata);
                        let opened = rig.fleet.decrypt("demo", made.sealed(), AAD, &framed, asked + PATIENCE);
                        results.push((wait(opened).map(|_| ()), asked.elapsed()));
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    results
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let failed = results.iter().filter(|(result, _)| result.is_err()).count();
    let slowest = results.iter().map(|(_, time)| *time).max().unwrap();
    println!("{what} {isolation:?}: {failed} of {} failed, the slowest took {slowest:?}", results.len());
    assert_eq!(
        failed,
        0,
        "{what} {isolation:?}: {:?}; {:?}",
        results.iter().find(|(result, _)| result.is_err()),
        rig.status()
    );
    assert!(rig.until(|rig| !active(rig, 1)), "{what} {isolation:?}");
    assert!(rig.fleet.can_serve());
    match rule {
        Some(rule) => rig.parts[1].faults.lift(rule),
        None => rig.parts[1].faults.insert_token(),
    }
    rig.until_active();
}

#[test]
fn one_of_two_hangs() {
    for isolation in BOTH {
        fails_over("hangs", isolation, |part| Some(part.faults.hang("*", When::Always)));
    }
}

#[test]
fn an_hsm_that_hangs_is_not_waited_for_longer_than_an_attempt() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["good", "bad"], isolation) else { return };
        let rule = rig.parts[1].faults.hang("C_Encrypt", When::Always);
        let began = Instant::now();
        let deadline = began + PATIENCE;
        let hung = || rig.parts[1].faults.hits(rule);
        while hung() == 0 {
            let made =
                wait(rig.fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), false, deadline))
                    .unwrap();
            assert_eq!(&*made.hsm, "good");
        }
        assert!(began.elapsed() < PATIENCE / 2);
    }
}

#[test]
fn one_of_two_is_pulled() {
    for isolation in BOTH {
        fails_over("pulled", isolation, |part| {
            part.faults.remove_token();
            None
        });
    }
}

#[test]
fn one_of_two_fails() {
    for isolation in BOTH {
        fails_over("fails", isolation, |part| {
            Some(part.faults.fail("C_Encrypt", "CKR_DEVICE_MEMORY", When::Always))
        });
    }
}

#[test]
fn one_of_two_crashes_again_and_again() {
    fails_over("crashes", Isolation::Process, |part| {
        Some(part.faults.crash("C_EncryptInit", Crash::Segfault, When::Always))
    });
}

#[test]
fn softhsm2_and_kryoptic_serve_in_one_fleet() {
    for isolation in BOTH {
        let (Some(soft), Some(kryoptic)) = (Token::softhsm2("soft"), Token::kryoptic("kryoptic")) else {
            return;
        };
        let rig = Rig::start(vec![Part::new(soft), Part::new(kryoptic)], isolation, |_, _| ());
        rig.until_active();
        let made = eventually(|| rig.encrypt());
        let models: Vec<_> = rig.fleet.health().into_iter().map(|health| health.model).collect();
        assert_ne!(models[0], models[1]);
        for pulled in 0..2 {
            rig.parts[pulled].faults.remove_token();
            assert!(rig.until(|rig| {
                rig.fleet.check_now();
                !active(rig, pulled)
            }));
            assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
            rig.parts[pulled].faults.insert_token();
            rig.until_active();
        }
    }
}

#[test]
fn a_key_that_only_one_hsm_has_is_served_by_that_and_does_not_encrypt() {
    let Some(rig) = Rig::new(&["has", "lacks"], Isolation::Process) else { return };
    import_key(&rig.parts[0].token, "single");
    let listed = |rig: &Rig| {
        rig.fleet.check_now();
        rig.fleet.describe("single").is_ok()
    };
    // SoftHSM2 reads new objects of other processes when it looks for objects.
    assert!(rig.until(listed));
    assert!(matches!(crate::rig::encrypt(&rig.fleet, "single"), Err(BackendError::Usage)));
}

#[test]
fn a_version_that_an_unreached_hsm_may_have_is_not_an_altered_ciphertext() {
    let tokens: Option<Vec<_>> = ["reached", "unreached"].into_iter().map(Token::softhsm2).collect();
    let Some(tokens) = tokens else { return };
    let parts: Vec<_> = tokens.into_iter().map(Part::new).collect();
    import_key(&parts[1].token, "demo#2");
    parts[1].faults.remove_token();
    let rig = Rig::start(parts, Isolation::Process, |_, _| ());
    let mut made = eventually(|| rig.encrypt());
    made.metadata[4] = 2;
    let error = rig.decrypt(&made).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "{error}");
    rig.parts[1].faults.insert_token();
    rig.until_active();
    assert!(rig.until(|rig| matches!(rig.decrypt(&made), Err(BackendError::InvalidCiphertext))));
    made.metadata[4] = 3;
    assert!(matches!(rig.decrypt(&made), Err(BackendError::InvalidCiphertext)));
}

#[test]
fn settings_that_cannot_be_right_are_refused() {
    let Some(token) = Token::softhsm2("settings") else { return };
    let part = Part::new(token);
    let state = tempfile::tempdir().unwrap();
    let hsm = || part.settings(Isolation::Process);
    let refused = |hsms| {
        holdfast_pkcs11::Fleet::start(FleetSettings::new(hsms, state.path())).err().unwrap().to_string()
    };
    assert_eq!(refused(vec![]), "a key store has one to ten HSMs, not 0");
    assert_eq!(refused((0..11).map(|_| hsm()).collect()), "a key store has one to ten HSMs, not 11");
    assert_eq!(refused(vec![hsm(), hsm()]), "two HSMs are named 'settings'");
    let mut none = hsm();
    none.sessions = 0;
    assert!(refused(vec![none]).contains("sessions"));
}
