//! Faults of one HSM: what callers are told, how soon, and that it comes back by itself.

use crate::rig::{AAD, BOTH, PATIENCE, Part, Rig, TEXT, THREADS, eventually, frame};
use holdfast_pkcs11::{BackendError, Encrypted, Isolation, Status, wait};
use holdfast_test_tokens::{Crash, Function, Rule, When};
use std::time::{Duration, Instant};

/// A hang ends never; the budget is 250 ms. What is between belongs to a busy machine.
const BOUNDED: Duration = Duration::from_secs(30);

type Operation = fn(&Rig, &Encrypted) -> Result<(), BackendError>;
const ENCRYPT: (&str, Operation) = ("C_Encrypt", |rig, _| rig.encrypt().map(|_| ()));
const DECRYPT: (&str, Operation) = ("C_Decrypt", |rig, made| rig.decrypt(made).map(|_| ()));

/// A rig whose health checks don't use up faults that are meant for requests.
fn undisturbed(label: &str, isolation: Isolation) -> Option<Rig> {
    Rig::with(&[label], isolation, |_, settings| settings.check_interval = Duration::from_secs(600))
}

#[test]
fn what_can_be_repaired_is_repaired_unseen() {
    let codes = [
        "CKR_SESSION_HANDLE_INVALID",
        "CKR_SESSION_CLOSED",
        "CKR_KEY_HANDLE_INVALID",
        "CKR_OBJECT_HANDLE_INVALID",
        "CKR_USER_NOT_LOGGED_IN",
        "CKR_DEVICE_ERROR",
        "CKR_OPERATION_ACTIVE",
        "CKR_OPERATION_NOT_INITIALIZED",
        "CKR_KEY_CHANGED",
    ];
    for isolation in BOTH {
        let Some(rig) = undisturbed("repairs", isolation) else { return };
        let made = eventually(|| rig.encrypt());
        for code in codes {
            for (function, operation) in [ENCRYPT, DECRYPT] {
                for function in [function.to_owned(), format!("{function}Init")] {
                    let rule = rig.faults().fail(&function, code, When::Next(1));
                    eventually(|| operation(&rig, &made));
                    assert_eq!(rig.faults().hits(rule), 1, "{function} {code}");
                    rig.faults().lift(rule);
                }
            }
        }
        assert!(rig.serves(), "{:?}", rig.status());
        assert!(rig.faults().calls(Function::C_Login) >= 4);
    }
}

#[test]
fn what_cannot_be_repaired_is_told_for_what_it_is() {
    use BackendError::*;
    type Is = fn(&BackendError) -> bool;
    let failed: Is = |error| matches!(error, Failed(_));
    let unavailable: Is = |error| matches!(error, Unavailable(_));
    let table: [(&str, Is, Is); 10] = [
        ("CKR_HOST_MEMORY", failed, failed),
        ("CKR_DATA_LEN_RANGE", |error| matches!(error, TooLong(_)), |error| matches!(error, TooLong(_))),
        // What is encrypted can't be altered.
        ("CKR_ENCRYPTED_DATA_INVALID", failed, |error| matches!(error, InvalidCiphertext)),
        ("CKR_AEAD_DECRYPT_FAILED", failed, |error| matches!(error, InvalidCiphertext)),
        ("CKR_KEY_FUNCTION_NOT_PERMITTED", |error| matches!(error, Usage), |error| matches!(error, Usage)),
        ("CKR_TOKEN_RESOURCE_EXCEEDED", unavailable, unavailable),
        ("CKR_MECHANISM_PARAM_INVALID", failed, failed),
        ("0x80000123", failed, failed),
        // The HSM still decrypts what it made itself, so it is the ciphertext.
        ("CKR_GENERAL_ERROR", failed, |error| matches!(error, InvalidCiphertext)),
        ("CKR_FUNCTION_FAILED", failed, |error| matches!(error, InvalidCiphertext)),
    ];
    for isolation in BOTH {
        let Some(rig) = undisturbed("told", isolation) else { return };
        let made = eventually(|| rig.encrypt());
        for (code, encrypt_is, decrypt_is) in table {
            for ((function, operation), is) in [(ENCRYPT, encrypt_is), (DECRYPT, decrypt_is)] {
                let rule = rig.faults().fail(function, code, When::Next(1));
                let error = operation(&rig, &made).unwrap_err();
                assert!(is(&error), "{function} {code}: {error:?}");
                rig.faults().lift(rule);
                eventually(|| operation(&rig, &made));
            }
        }
    }
}

#[test]
fn an_altered_ciphertext_is_told_from_a_fault_after_a_repair_too() {
    for isolation in BOTH {
        let Some(rig) = undisturbed("repaired", isolation) else { return };
        let mut altered = eventually(|| rig.encrypt());
        altered.tag[0] ^= 1;
        for code in ["CKR_SESSION_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN"] {
            // SoftHSM2 then says CKR_GENERAL_ERROR of the ciphertext.
            let end = Instant::now() + PATIENCE;
            loop {
                let rule = rig.faults().fail("C_DecryptInit", code, When::Next(1));
                let error = rig.decrypt(&altered).unwrap_err();
                let hits = rig.faults().hits(rule);
                rig.faults().lift(rule);
                match error {
                    BackendError::InvalidCiphertext if hits == 1 => break,
                    // A busy machine may not keep the budget.
                    BackendError::Timeout | BackendError::InvalidCiphertext => {
                        assert!(Instant::now() < end, "{code}")
                    }
                    error => panic!("{code}: {error:?}"),
                }
            }
        }
    }
}

#[test]
fn an_encryption_that_does_not_decrypt_is_not_given_out_where_it_is_verified() {
    for isolation in BOTH {
        let Some(rig) = undisturbed("verified", isolation) else { return };
        let verified = || {
            let frame = |metadata: &[u8]| frame(AAD, metadata);
            wait(rig.fleet.encrypt("demo", TEXT, frame, true, Instant::now() + PATIENCE))
        };
        assert!(eventually(verified).verified.is_some());
        for function in ["C_Encrypt", "C_Decrypt"] {
            let rule = rig.faults().garble(function, When::Next(1));
            match verified() {
                Err(BackendError::Failed(why)) => assert!(why.contains("doesn't decrypt"), "{why}"),
                other => panic!("{function}: {other:?}"),
            }
            assert_eq!(rig.faults().hits(rule), 1, "{function}");
            rig.faults().lift(rule);
            eventually(verified);
        }
        // Unverified, nobody sees it.
        let rule = rig.faults().garble("C_Encrypt", When::Next(1));
        let made = eventually(|| rig.encrypt());
        rig.faults().lift(rule);
        assert!(matches!(rig.decrypt(&made), Err(BackendError::InvalidCiphertext)));
        // Each of the two operations is repaired by itself.
        for function in ["C_Encrypt", "C_Decrypt", "C_EncryptInit", "C_DecryptInit"] {
            for code in ["CKR_SESSION_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN"] {
                let rule = rig.faults().fail(function, code, When::Next(1));
                assert!(verified().unwrap().verified.is_some(), "{function} {code}");
                assert!(rig.faults().hits(rule) >= 1, "{function} {code}");
                rig.faults().lift(rule);
            }
        }
    }
}

#[test]
fn an_encryption_that_one_hsm_spoils_is_made_by_another() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["spoils", "sound"], isolation) else { return };
        rig.until_active();
        let _ = rig.parts[0].faults.garble("C_Encrypt", When::Always);
        for _ in 0..10 {
            let frame = |metadata: &[u8]| frame(AAD, metadata);
            let made = wait(rig.fleet.encrypt("demo", TEXT, frame, true, Instant::now() + PATIENCE)).unwrap();
            assert_eq!(&*made.hsm, "sound");
        }
        // The checks see it, too.
        rig.fleet.check_now();
        assert!(rig.until(|rig| rig.status() != Status::Active), "{:?}", rig.fleet.health());
    }
}

#[test]
fn requests_that_come_late_take_no_hsm_out() {
    let Some(rig) = undisturbed("late", Isolation::Process) else { return };
    let _ = rig.faults().delay("C_Encrypt", Duration::from_millis(40));
    for _ in 0..6 {
        let late = rig.fleet.encrypt(
            "demo",
            TEXT,
            |metadata| frame(AAD, metadata),
            false,
            Instant::now() + Duration::from_millis(15),
        );
        assert!(matches!(wait(late), Err(BackendError::Timeout)));
        assert!(rig.fleet.can_serve());
    }
    eventually(|| rig.encrypt());
}

#[test]
fn a_decryption_that_fails_like_all_others_is_the_hsms_fault() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["general"], isolation) else { return };
        let made = eventually(|| rig.encrypt());
        let rule = rig.faults().fail("C_Decrypt", "CKR_GENERAL_ERROR", When::Always);
        let error = rig.decrypt(&made).unwrap_err();
        assert!(matches!(error, BackendError::Failed(_) | BackendError::Unavailable(_)), "{error:?}");
        rig.fleet.check_now();
        assert!(rig.until(|rig| !rig.fleet.can_serve()));
        assert!(matches!(rig.status(), Status::Unavailable(why) if why.contains("CKR_GENERAL_ERROR")));
        rig.faults().lift(rule);
        rig.until_active();
        eventually(|| rig.decrypt(&made));
    }
}

/// Requests fail at once while the fault lasts, health tells and stays quick, and all is well after it.
fn lasts(label: &str, isolation: Isolation, begin: fn(&Part) -> Option<Rule>, operation: Operation) {
    let Some(rig) = Rig::new(&[label], isolation) else { return };
    let made = eventually(|| rig.encrypt());
    let rule = begin(&rig.parts[0]);
    for _ in 0..5 {
        let began = Instant::now();
        let error = operation(&rig, &made).unwrap_err();
        assert!(began.elapsed() < BOUNDED, "{isolation:?}: {error} after {:?}", began.elapsed());
        assert!(
            matches!(error, BackendError::Timeout | BackendError::Unavailable(_) | BackendError::Failed(_)),
            "{error:?}"
        );
    }
    // An HSM that is being opened again is in between for a moment.
    let unavailable = |rig: &Rig| matches!(rig.status(), Status::Unavailable(_)) && !rig.fleet.can_serve();
    assert!(rig.until(unavailable), "{isolation:?}: {:?}", rig.status());
    // Unknown is what an HSM says; this one says nothing.
    assert!(!matches!(operation(&rig, &made), Err(BackendError::KeyNotFound)));
    let began = Instant::now();
    let _ = (rig.fleet.health(), rig.fleet.describe("demo").unwrap());
    assert!(began.elapsed() < BOUNDED);
    match rule {
        Some(rule) => rig.faults().lift(rule),
        None => rig.faults().insert_token(),
    }
    let ended = Instant::now();
    rig.until_active();
    println!("{label} {isolation:?}: active again after {:?}", ended.elapsed());
    eventually(|| rig.encrypt());
    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
}

#[test]
fn an_hsm_that_hangs_in_encryptions() {
    for isolation in BOTH {
        lasts(
            "hangs-encrypt",
            isolation,
            |part| Some(part.faults.hang("C_Encrypt", When::Always)),
            ENCRYPT.1,
        );
    }
}

#[test]
fn an_hsm_that_hangs_in_decryptions() {
    for isolation in BOTH {
        lasts(
            "hangs-decrypt",
            isolation,
            |part| Some(part.faults.hang("C_Decrypt", When::Always)),
            DECRYPT.1,
        );
    }
}

#[test]
fn an_hsm_that_hangs_in_every_call() {
    for isolation in BOTH {
        lasts("hangs-all", isolation, |part| Some(part.faults.hang("*", When::Always)), ENCRYPT.1);
    }
}

#[test]
fn a_token_that_is_pulled_and_put_back() {
    for isolation in BOTH {
        let pull = |part: &Part| {
            part.faults.remove_token();
            None
        };
        lasts("pulled", isolation, pull, ENCRYPT.1);
        lasts("pulled-decrypt", isolation, pull, DECRYPT.1);
    }
}

#[test]
fn a_device_that_fails_every_call() {
    for isolation in BOTH {
        for code in ["CKR_DEVICE_ERROR", "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_REMOVED", "0x80000001"] {
            let begin: fn(&Part, &str) -> Rule =
                |part, code| part.faults.fail("C_EncryptInit", code, When::Always);
            let Some(rig) = Rig::new(&["device"], isolation) else { return };
            let rule = begin(&rig.parts[0], code);
            for _ in 0..4 {
                rig.encrypt().unwrap_err();
            }
            assert!(rig.until(|rig| !rig.fleet.can_serve()), "{code}");
            rig.faults().lift(rule);
            rig.until_active();
            eventually(|| rig.encrypt());
        }
    }
}

#[test]
fn a_module_that_crashes_takes_only_its_process_down() {
    for how in [Crash::Segfault, Crash::Abort, Crash::Exit] {
        let Some(rig) = Rig::new(&["crashes"], Isolation::Process) else { return };
        let made = eventually(|| rig.encrypt());
        let rule = rig.faults().crash("C_Decrypt", how, When::Next(1));
        let began = Instant::now();
        let error = rig.decrypt(&made).unwrap_err();
        assert!(matches!(error, BackendError::Unavailable(_) | BackendError::Timeout), "{error:?}");
        assert!(began.elapsed() < BOUNDED);
        assert!(rig.until(|rig| rig.faults().hits(rule) == 1 && rig.fleet.can_serve()));
        assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
        println!("{how:?}: served again after {:?}", began.elapsed());
    }
}

#[test]
fn a_worker_process_whose_module_cannot_start_says_why() {
    let Some(rig) = Rig::new(&["starts"], Isolation::Process) else { return };
    let rule = rig.faults().fail("C_Initialize", "CKR_DEVICE_MEMORY", When::Always);
    let crash = rig.faults().crash("C_EncryptInit", Crash::Segfault, When::Next(1));
    rig.encrypt().unwrap_err();
    rig.faults().lift(crash);
    let says = |rig: &Rig| matches!(rig.status(), Status::Unavailable(why) if why.contains("C_Initialize returned CKR_DEVICE_MEMORY"));
    assert!(rig.until(says), "{:?}", rig.status());
    rig.faults().lift(rule);
    rig.until_active();
}

#[test]
fn in_threads_hung_calls_are_written_off_so_many_times_and_no_more() {
    let Some(rig) = Rig::new(&["written-off"], THREADS) else { return };
    let faults = rig.faults();
    let rule = faults.hang("C_EncryptInit", When::Always);
    let hung = || faults.inside(Function::C_EncryptInit);
    // Two threads that are replaced, and one more that hangs; others may have begun meanwhile, of the four.
    let end = Instant::now() + PATIENCE;
    while rig.fleet.can_serve() || hung() < 3 {
        let _ = rig.encrypt();
        assert!(Instant::now() < end, "{}", hung());
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let _ = rig.encrypt();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!((3..=6).contains(&hung()), "{}", hung());
    assert_eq!(faults.calls(Function::C_Finalize), 0);
    assert!(!rig.fleet.can_serve());
    faults.lift(rule);
    rig.until_active();
    eventually(|| rig.encrypt());
}

#[test]
fn in_threads_connecting_anew_leaves_a_hung_calls_session_alone() {
    let Some(rig) = undisturbed("leaves", THREADS) else { return };
    eventually(|| rig.encrypt());
    let (faults, hung) = (rig.faults(), || rig.faults().inside(Function::C_Encrypt));
    let logins = faults.calls(Function::C_Login);
    let hang = faults.hang("C_Encrypt", When::Next(1));
    while hung() == 0 {
        let _ = rig.encrypt();
    }
    let gone = faults.fail("C_EncryptInit", "CKR_DEVICE_REMOVED", When::Next(1));
    let _ = rig.encrypt();
    assert_eq!(faults.hits(gone), 1);
    assert!(
        rig.until(|rig| rig.faults().calls(Function::C_Login) > logins && rig.fleet.can_serve()),
        "{:?}",
        rig.status()
    );
    eventually(|| rig.encrypt());
    assert_eq!((hung(), faults.calls(Function::C_CloseAllSessions)), (1, 0));
    // The call goes on with the session that it began with, and its worker closes that one too.
    let failures = faults.failures(Function::C_Encrypt);
    faults.lift(hang);
    rig.until_active();
    assert!(rig.until(|rig| hung() == 0 && rig.faults().sessions() <= 5), "{}", faults.sessions());
    assert_eq!(faults.failures(Function::C_Encrypt), failures);
    eventually(|| rig.encrypt());
}

#[test]
fn a_single_call_that_hangs_takes_neither_its_session_nor_the_others() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["single"], isolation, |_, settings| settings.hsms[0].sessions = 1) else {
            return;
        };
        let faults = rig.faults();
        let rule = faults.hang("C_EncryptInit", When::Next(1));
        let began = Instant::now();
        while faults.hits(rule) == 0 {
            let _ = rig.encrypt();
        }
        eventually(|| rig.encrypt());
        println!("{isolation:?}: its only session is back after {:?}", began.elapsed());
        let inside = if isolation == THREADS { 1 } else { 0 };
        assert_eq!(faults.inside(Function::C_EncryptInit), inside);
        faults.lift(rule);
        rig.until_active();
    }
}

#[test]
fn a_full_queue_refuses_and_time_in_the_queue_counts() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["queue"], isolation, |_, settings| {
            settings.hsms[0].sessions = 1;
            settings.hsms[0].queue = 2;
            settings.hsms[0].hang_time = Duration::from_secs(60);
            settings.check_interval = Duration::from_secs(600);
        }) else {
            return;
        };
        let rule = rig.faults().hang("C_Encrypt", When::Next(1));
        let results: Vec<_> = std::thread::scope(|scope| {
            // As long as it takes until all have come.
            const BUDGET: Duration = Duration::from_secs(4);
            let begin = || {
                let began = Instant::now();
                let frame = |metadata: &[u8]| frame(AAD, metadata);
                (wait(rig.fleet.encrypt("demo", TEXT, frame, false, began + BUDGET)).err(), began.elapsed())
            };
            let first = scope.spawn(begin);
            let end = Instant::now() + PATIENCE;
            while rig.faults().inside(Function::C_Encrypt) == 0 {
                assert!(Instant::now() < end);
                std::thread::yield_now();
            }
            let rest: Vec<_> = (0..6).map(|_| scope.spawn(begin)).collect();
            std::iter::once(first).chain(rest).map(|caller| caller.join().unwrap()).collect()
        });
        let busy = results.iter().filter(|(error, _)| matches!(error, Some(BackendError::Busy))).count();
        let late = results.iter().filter(|(error, _)| matches!(error, Some(BackendError::Timeout))).count();
        assert!(busy >= 1 && late >= 3 && busy + late == 7, "{results:?}");
        assert!(results.iter().all(|(_, time)| *time < BOUNDED));
        rig.faults().lift(rule);
        eventually(|| rig.encrypt());
    }
}

#[test]
fn work_whose_caller_has_gone_is_not_done() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["gone"], isolation, |_, settings| {
            settings.hsms[0].sessions = 1;
            settings.hsms[0].hang_time = Duration::from_secs(60);
            settings.check_interval = Duration::from_secs(600);
        }) else {
            return;
        };
        eventually(|| rig.encrypt());
        let rule = rig.faults().hang("C_EncryptInit", When::Next(1));
        let before = rig.faults().calls(Function::C_EncryptInit);
        let deadline = Instant::now() + PATIENCE;
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                wait(rig.fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), false, deadline))
                    .is_ok()
            });
            while rig.faults().inside(Function::C_EncryptInit) == 0 {
                std::thread::yield_now();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for _ in 0..5 {
                    let waits =
                        rig.fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), false, deadline);
                    assert!(tokio::time::timeout(Duration::from_millis(5), waits).await.is_err());
                }
            });
            rig.faults().lift(rule);
            assert!(first.join().unwrap());
        });
        eventually(|| rig.encrypt());
        let calls = rig.faults().calls(Function::C_EncryptInit) - before;
        assert!(calls < 5, "{calls}");
    }
}

#[test]
fn a_slow_hsm_is_used_with_all_its_sessions() {
    for isolation in BOTH {
        let Some(rig) = Rig::with(&["slow"], isolation, |_, settings| {
            settings.hsms[0].sessions = 16;
            settings.hsms[0].queue = 64;
        }) else {
            return;
        };
        let _ = rig.faults().delay("C_Encrypt", Duration::from_millis(20));
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| (0..20).for_each(|_| drop(eventually(|| rig.encrypt()))));
            }
        });
        assert_eq!(rig.faults().most_inside(Function::C_Encrypt), 16, "{isolation:?}");
    }
}
