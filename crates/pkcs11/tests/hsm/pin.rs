//! A wrong PIN costs one try, ever.

use crate::rig::{BOTH, PATIENCE, Part, Rig, THREADS, eventually, start_fleet};
use holdfast_pkcs11::{Fleet, Health, HsmSettings, Isolation, Status, TokenSelector};
use holdfast_test_tokens::{Crash, Function, Token, When};

/// CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED.
const WARNINGS: [(u64, &str); 2] = [(0x2_0000, "one more wrong PIN"), (0x4_0000, "locked")];

fn says(rig: &Rig, what: &str) -> bool {
    matches!(rig.status(), Status::Unavailable(why) if why.contains(what))
}

#[test]
fn a_wrong_pin_is_tried_once_and_not_again_after_a_restart() {
    for isolation in BOTH {
        let Some(token) = Token::softhsm2("wrong") else { return };
        let part = Part::new(token);
        *part.pin.lock().unwrap() = "9999-9999".into();
        let mut rig = Rig::start(vec![part], isolation, |_, _| ());
        assert!(rig.until(|rig| says(rig, "refused before")), "{:?}", rig.status());
        assert_eq!(rig.faults().calls(Function::C_Login), 1);
        rig.fleet = start_fleet(&rig.parts, isolation, rig.state.path(), |_, _| ());
        assert!(rig.until(|rig| says(rig, "refused before")), "{:?}", rig.status());
        assert_eq!(rig.faults().calls(Function::C_Login), 1);
        // Nothing of it is written where it could be read.
        for file in std::fs::read_dir(rig.state.path()).unwrap() {
            assert!(!std::fs::read_to_string(file.unwrap().path()).unwrap().contains("9999-9999"));
        }
        *rig.parts[0].pin.lock().unwrap() = rig.parts[0].token.pin();
        rig.until_active();
        eventually(|| rig.encrypt());
    }
}

#[test]
fn a_wrong_pin_is_tried_once_whatever_a_token_is_called_and_however_it_is_found() {
    for isolation in BOTH {
        let Some(token) = Token::softhsm2("found-twice") else { return };
        let part = Part::new(token);
        *part.pin.lock().unwrap() = "9999-9999".into();
        let rig = Rig::start(vec![part], isolation, |parts, settings| {
            let token = TokenSelector::Serial(parts[0].token.serial());
            settings.hsms.push(HsmSettings { name: "by-serial".into(), token, ..settings.hsms[0].clone() });
        });
        let refused = |fleet: &Fleet| {
            let says = |health: Health| matches!(health.status, Status::Unavailable(why) if why.contains("refused before"));
            fleet.health().into_iter().all(says)
        };
        assert!(rig.until(|rig| refused(&rig.fleet)), "{:?}", rig.fleet.health());
        let state = tempfile::tempdir().unwrap();
        let another = start_fleet(&rig.parts, isolation, state.path(), |_, settings| {
            settings.hsms[0].name = "of-another-key-store".into();
            settings.pin_folder = rig.state.path().to_owned();
        });
        assert!(another.wait_until(PATIENCE, refused), "{:?}", another.health());
        assert_eq!(rig.faults().calls(Function::C_Login), 1, "{isolation:?}");
    }
}

#[test]
fn a_try_that_is_cut_short_costs_no_pin_that_the_token_accepted_before() {
    for (isolation, crashes) in [(THREADS, false), (Isolation::Process, false), (Isolation::Process, true)] {
        let Some(rig) = Rig::new(&["cut-short"], isolation) else { return };
        let rule = match crashes {
            true => rig.faults().crash("C_Login", Crash::Segfault, When::Next(1)),
            false => rig.faults().fail("C_Login", "CKR_DEVICE_ERROR", When::Next(2)),
        };
        rig.faults().remove_token();
        assert!(rig.until(|rig| {
            rig.fleet.check_now();
            says(rig, "no token with the label")
        }));
        rig.faults().insert_token();
        rig.until_active();
        assert!(rig.faults().hits(rule) > 0);
        eventually(|| rig.encrypt());
    }
}

#[test]
fn a_first_try_that_is_cut_short_comes_back_where_the_token_says_that_no_try_was_lost() {
    for isolation in BOTH {
        let fail = |part: &Part, code: &str| {
            let _ = part.faults.fail("C_Login", code, When::Next(1));
        };
        let crash = |part: &Part, _: &str| {
            let _ = part.faults.crash("C_Login", Crash::Segfault, When::Next(1));
        };
        type Cut<'a> = &'a dyn Fn(&Part, &str);
        let mut cases: Vec<(&str, Cut<'_>)> =
            vec![("CKR_DEVICE_ERROR", &fail), ("CKR_GENERAL_ERROR", &fail), ("0x80000001", &fail)];
        if isolation == Isolation::Process {
            cases.push(("", &crash));
        }
        for (code, cut) in cases {
            let Some(token) = Token::softhsm2("first-start") else { return };
            let part = Part::new(token);
            cut(&part, code);
            let rig = Rig::start(vec![part], isolation, |_, _| ());
            rig.until_active();
            assert!(rig.faults().calls(Function::C_Login) >= 2, "{code}");
        }
    }
}

#[test]
fn a_pin_that_the_token_accepted_is_known_after_a_restart() {
    let Some(mut rig) = Rig::new(&["known"], Isolation::Process) else { return };
    // CKF_USER_PIN_COUNT_LOW: the token doesn't say that no try was lost.
    rig.faults().token_flags(0x1_0000);
    let _ = rig.faults().crash("C_Login", Crash::Segfault, When::Next(1));
    rig.fleet = start_fleet(&rig.parts, Isolation::Process, rig.state.path(), |_, _| ());
    rig.until_active();
}

#[test]
fn a_token_with_a_keypad_is_refused_by_name() {
    let Some(token) = Token::softhsm2("keypad") else { return };
    let part = Part::new(token);
    part.faults.token_flags(0x100);
    let rig = Rig::start(vec![part], THREADS, |_, _| ());
    assert!(rig.until(|rig| says(rig, "CKF_PROTECTED_AUTHENTICATION_PATH")), "{:?}", rig.status());
    assert_eq!(rig.faults().calls(Function::C_Login), 0);
}

#[test]
fn connecting_may_take_as_long_as_is_configured() {
    for isolation in BOTH {
        let Some(mut rig) = Rig::new(&["slow-login"], isolation) else { return };
        let _ = rig.faults().delay("C_Login", std::time::Duration::from_millis(400));
        rig.fleet = start_fleet(&rig.parts, isolation, rig.state.path(), |_, settings| {
            settings.hsms[0].connect_time = std::time::Duration::from_millis(100);
        });
        assert!(rig.until(|rig| says(rig, "hangs while it connects")), "{:?}", rig.status());
        rig.fleet = start_fleet(&rig.parts, isolation, rig.state.path(), |_, _| ());
        rig.until_active();
    }
}

#[test]
fn a_first_try_that_is_cut_short_is_repeated_only_where_the_token_says_that_it_cost_nothing() {
    const COUNT_LOW: u64 = 0x0001_0000;
    let Some(token) = Token::softhsm2("first-try") else { return };
    let part = Part::new(token);
    part.faults.token_flags(COUNT_LOW);
    let _ = part.faults.crash("C_Login", Crash::Segfault, When::Next(1));
    let mut rig = Rig::start(vec![part], Isolation::Process, |_, _| ());
    assert!(rig.until(|rig| says(rig, "cut short")), "{:?}", rig.status());
    rig.fleet = start_fleet(&rig.parts, Isolation::Process, rig.state.path(), |_, _| ());
    assert!(rig.until(|rig| says(rig, "cut short")), "{:?}", rig.status());
    assert_eq!(rig.faults().calls(Function::C_Login), 1);
    rig.faults().token_flags(0);
    rig.until_active();
    eventually(|| rig.encrypt());
}

#[test]
fn a_token_that_is_not_ready_at_the_very_first_login_is_logged_in_to_by_itself() {
    for code in ["CKR_DEVICE_ERROR", "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "0x80000123"] {
        let Some(token) = Token::softhsm2("first-login") else { return };
        let part = Part::new(token);
        let _ = part.faults.fail("C_Login", code, When::Next(2));
        let rig = Rig::start(vec![part], THREADS, |_, _| ());
        rig.until_active();
    }
}

#[test]
fn a_pin_that_is_none_never_reaches_the_token() {
    for (pin, why) in [("", "empty"), (" 1234", "blank"), ("1234\n", "blank")] {
        let Some(token) = Token::softhsm2("odd-pin") else { return };
        let part = Part::new(token);
        *part.pin.lock().unwrap() = pin.into();
        let rig = Rig::start(vec![part], THREADS, |_, _| ());
        assert!(rig.until(|rig| says(rig, why)), "{:?}", rig.status());
        assert_eq!(rig.faults().calls(Function::C_Login), 0);
    }
}

#[test]
fn no_pin_is_tried_where_the_token_warns() {
    for (flag, why) in WARNINGS {
        let Some(token) = Token::softhsm2("flags") else { return };
        let part = Part::new(token);
        part.faults.token_flags(flag);
        let rig = Rig::start(vec![part], THREADS, |_, _| ());
        assert!(rig.until(|rig| says(rig, why)), "{:?}", rig.status());
        assert_eq!(rig.faults().calls(Function::C_Login), 0);
        rig.faults().token_flags(0);
        rig.until_active();
    }
}

#[test]
fn a_pin_that_changes_is_read_anew() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["changes"], isolation) else { return };
        rig.parts[0].token.change_pin("2468-2468");
        // Away for long enough that the module is started anew: SoftHSM2 keeps the old PIN until then.
        rig.faults().remove_token();
        assert!(rig.until(|rig| {
            rig.fleet.check_now();
            says(rig, "no token with the label")
        }));
        rig.faults().insert_token();
        assert!(rig.until(|rig| says(rig, "refused before")), "{:?}", rig.status());
        *rig.parts[0].pin.lock().unwrap() = "2468-2468".into();
        rig.until_active();
        eventually(|| rig.encrypt());
    }
}

#[test]
fn a_token_is_named_by_its_label_or_serial_number() {
    let Some(rig) = Rig::with(&["serial"], Isolation::Process, |parts, settings| {
        settings.hsms[0].token = TokenSelector::Serial(parts[0].token.serial());
    }) else {
        return;
    };
    eventually(|| rig.encrypt());
    let Some(token) = Token::softhsm2("unnamed") else { return };
    let rig = Rig::start(vec![Part::new(token)], THREADS, |_, settings| {
        settings.hsms[0].token = TokenSelector::Label("another".into());
    });
    assert!(rig.until(|rig| says(rig, "no token with the label 'another'")), "{:?}", rig.status());
}
