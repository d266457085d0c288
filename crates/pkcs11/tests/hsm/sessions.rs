//! Sessions that end, are few, or are all taken.

use crate::rig::{AAD, BOTH, PATIENCE, Part, Rig, TEXT, THREADS, eventually, frame};
use holdfast_pkcs11::{BackendError, Encrypted, Isolation, Status, wait};
use holdfast_test_tokens::{Function, Token, When};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A rig whose health checks come only when they are asked for.
fn undisturbed(labels: &[&str], isolation: Isolation) -> Option<Rig> {
    Rig::with(labels, isolation, |_, settings| settings.check_interval = Duration::from_secs(600))
}

/// Encrypts until a call hangs.
#[track_caller]
fn hangs(rig: &Rig, function: Function) {
    let end = Instant::now() + PATIENCE;
    while rig.faults().inside(function) == 0 {
        let _ = rig.encrypt();
        assert!(Instant::now() < end, "nothing hangs");
    }
}

fn encrypt(rig: &Rig, verify: bool, budget: Duration) -> Result<Encrypted, BackendError> {
    let deadline = Instant::now() + budget;
    wait(rig.fleet.encrypt("demo", TEXT, |metadata| frame(AAD, metadata), verify, deadline))
}

#[test]
fn a_token_that_was_out_for_a_moment_is_logged_in_to_again() {
    for isolation in BOTH {
        // Noticed by a request, and by a check.
        for checked in [false, true] {
            let Some(rig) = undisturbed(&["moment"], isolation) else { return };
            let made = eventually(|| rig.encrypt());
            rig.faults().insert_token();
            if checked {
                rig.fleet.check_now();
            }
            assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
            eventually(|| rig.encrypt());
            rig.until_active();
        }
    }
}

#[test]
fn a_token_of_a_fleet_that_was_out_for_a_moment_takes_no_key_from_the_others() {
    for isolation in BOTH {
        let Some(rig) = undisturbed(&["stays", "moment"], isolation) else { return };
        rig.parts[1].faults.insert_token();
        rig.fleet.check_now();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            match rig.encrypt() {
                Ok(_) | Err(BackendError::Timeout | BackendError::Unavailable(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        rig.until_active();
        assert!(rig.until(|rig| rig.encrypt().is_ok_and(|made| &*made.hsm == "moment")));
    }
}

#[test]
fn a_token_that_allows_few_sessions_serves_with_those() {
    for isolation in BOTH {
        // One for the login, one to work.
        let limited = |parts: &[Part]| parts[0].faults.session_limit(Some(2));
        let rig = Rig::with(&["sessions"], isolation, |parts, _| limited(parts));
        let Some(rig) = rig else { return };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| drop(eventually(|| rig.encrypt()))));
            }
        });
        assert!(rig.faults().most_sessions() <= 2);
        assert!(rig.serves(), "{:?}", rig.status());
    }
}

#[test]
fn threads_without_a_session_leave_requests_to_those_that_have_one() {
    // One session for the login, and two of 32 to work with; the token doesn't say so.
    let limited = Rig::with(&["few"], Isolation::Process, |parts, settings| {
        parts[0].faults.session_limit(Some(3));
        settings.hsms[0].sessions = 32;
        settings.check_interval = Duration::from_secs(600);
    });
    let Some(rig) = limited else { return };
    // All have tried to get one: 30 in vain.
    assert!(rig.until(|rig| rig.faults().failures(Function::C_OpenSession) >= 30));
    let failures = AtomicUsize::new(0);
    let encrypt = || {
        for _ in 0..200 {
            match rig.encrypt() {
                Ok(_) | Err(BackendError::Timeout) => {}
                Err(_) => drop(failures.fetch_add(1, Ordering::Relaxed)),
            }
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(encrypt))));
    // The first waited for a message before another had a session, if the machine is busy.
    assert!(failures.into_inner() <= 1);
}

#[test]
fn in_threads_a_call_that_hangs_and_is_not_replaced_takes_the_hsm_out() {
    let Some(rig) = undisturbed(&["stuck"], Isolation::Threads { replaced_at_most: 0 }) else { return };
    let hang = rig.faults().hang("C_Encrypt", When::Next(1));
    hangs(&rig, Function::C_Encrypt);
    assert!(rig.until(|rig| !rig.fleet.can_serve()));
    let logins = rig.faults().calls(Function::C_Login);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert!(!rig.fleet.can_serve());
        assert!(matches!(rig.status(), Status::Unavailable(why) if why.contains("hang")));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rig.faults().calls(Function::C_Login), logins);
    rig.faults().lift(hang);
    rig.until_active();
    eventually(|| rig.encrypt());
}

#[test]
fn a_token_whose_keys_take_long_to_list_serves() {
    for isolation in [THREADS, Isolation::Process] {
        let Some(rig) = undisturbed(&["many"], isolation) else { return };
        for number in 0..20 {
            crate::rig::import_key(&rig.parts[0].token, &format!("key-{number}"));
        }
        // Over a second for a listing, which is more than the hang time and than a check may take otherwise.
        let delay = rig.faults().delay("C_GetAttributeValue", Duration::from_millis(25));
        rig.fleet.check_now();
        assert!(rig.until(|rig| {
            assert!(rig.fleet.can_serve(), "{:?}", rig.status());
            rig.fleet.key_ids().len() == 21
        }));
        rig.faults().lift(delay);
        rig.until_active();
    }
}

#[test]
fn what_degrades_an_hsm_is_told_and_it_serves() {
    let degraded =
        |rig: &Rig, why: &str| matches!(rig.status(), Status::Degraded(told) if told.contains(why));
    let Some(token) = Token::softhsm2("degraded") else { return };
    let rig = Rig::start(vec![Part::new(token)], THREADS, |_, settings| settings.hsms[0].test_key = None);
    assert!(rig.until(|rig| degraded(rig, "no test key")), "{:?}", rig.status());
    eventually(|| rig.encrypt());

    let Some(rig) = undisturbed(&["hangs"], THREADS) else { return };
    let hang = rig.faults().hang("C_Encrypt", When::Next(1));
    hangs(&rig, Function::C_Encrypt);
    let looks = |rig: &Rig| {
        rig.fleet.check_now();
        degraded(rig, "hang in the module")
    };
    assert!(rig.until(looks), "{:?}", rig.status());
    eventually(|| rig.encrypt());
    rig.faults().lift(hang);
    rig.until_active();

    let slow = rig.faults().delay("C_EncryptInit", Duration::from_millis(200));
    let looks = |rig: &Rig| {
        rig.fleet.check_now();
        degraded(rig, "150 ms")
    };
    assert!(rig.until(looks), "{:?}", rig.status());
    rig.faults().lift(slow);
    rig.until_active();
}

#[test]
fn a_token_that_allows_more_sessions_again_serves_with_those() {
    for isolation in BOTH {
        let rig = Rig::with(&["more"], isolation, |parts, _| parts[0].faults.session_limit(Some(2)));
        let Some(rig) = rig else { return };
        rig.faults().session_limit(None);
        let slow = rig.faults().delay("C_Encrypt", Duration::from_millis(20));
        let load = || (0..20).for_each(|_| drop(eventually(|| rig.encrypt())));
        let end = Instant::now() + PATIENCE;
        while rig.faults().sessions() < 5 {
            assert!(Instant::now() < end, "{isolation:?}: {}", rig.faults().sessions());
            std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(load))));
        }
        rig.faults().lift(slow);
    }
}

#[test]
fn the_second_hsm_that_is_tried_gets_all_the_time_that_is_left() {
    let Some(rig) = undisturbed(&["a", "b", "c"], Isolation::Process) else { return };
    for part in &rig.parts {
        let _ = part.faults.delay("C_Encrypt", Duration::from_millis(300));
    }
    encrypt(&rig, false, Duration::from_secs(20)).unwrap();
}

#[test]
fn a_first_hsm_that_hangs_leaves_the_second_as_much_time_for_a_verified_encryption() {
    let rig = Rig::with(&["hangs", "slow"], Isolation::Process, |_, settings| {
        settings.check_interval = Duration::from_secs(600);
        settings.attempt_time = Duration::from_secs(2);
        settings.hsms.iter_mut().for_each(|hsm| hsm.hang_time = Duration::from_secs(60));
    });
    let Some(rig) = rig else { return };
    let _ = rig.parts[1].faults.delay("C_Encrypt", Duration::from_millis(1500));
    let hang = rig.faults().hang("C_EncryptInit", When::Always);
    let end = Instant::now() + PATIENCE;
    while rig.faults().inside(Function::C_EncryptInit) == 0 {
        // 2.5 s for each, and not 4 and 1.
        encrypt(&rig, true, Duration::from_secs(5)).unwrap();
        assert!(Instant::now() < end);
    }
    rig.faults().lift(hang);
}
