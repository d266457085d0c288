//! Faults of HSMs, end to end: the status of each answer, how long it takes, and that all comes back by itself.

use std::time::{Duration, Instant};

use holdfast_test_tokens::{Form, Function, IvFault, Kind, Rule, Token, When};
use holdfast_tests::{PATIENCE, Reply, wait_for};
use serde_json::Value;

use crate::rig::{ISOLATIONS, Part, Rig};

/// A hang never ends, and the budget is 500 ms. What is between belongs to a machine that is busy with other tests.
const BOUNDED: Duration = Duration::from_secs(30);

fn start(labels: &[&str], isolation: &'static str) -> Option<Rig> {
    Rig::start_with(Kind::SoftHsm2, labels, isolation, |setup| setup.limit("budget", "500ms"))
}

type Act = fn(&Rig, &Value) -> Reply;
const ENCRYPT: (&str, Act) = ("C_Encrypt", |rig, _| rig.encrypt());
const DECRYPT: (&str, Act) = ("C_Decrypt", |rig, made| rig.decrypt(made));

#[test]
fn each_fault_of_a_single_hsm_has_its_status() {
    let table = [
        ("CKR_DEVICE_ERROR", (200, ""), (200, "")),
        ("CKR_SESSION_HANDLE_INVALID", (200, ""), (200, "")),
        ("CKR_KEY_HANDLE_INVALID", (200, ""), (200, "")),
        ("CKR_USER_NOT_LOGGED_IN", (200, ""), (200, "")),
        ("CKR_HOST_MEMORY", (500, "InternalException"), (500, "InternalException")),
        ("CKR_GENERAL_ERROR", (500, "InternalException"), (400, "InvalidCiphertextException")),
        (
            "CKR_TOKEN_RESOURCE_EXCEEDED",
            (503, "DependencyTimeoutException"),
            (503, "DependencyTimeoutException"),
        ),
        (
            "CKR_KEY_FUNCTION_NOT_PERMITTED",
            (400, "InvalidKeyUsageException"),
            (400, "InvalidKeyUsageException"),
        ),
        (
            "CKR_DATA_LEN_RANGE",
            (501, "UnsupportedOperationException"),
            (501, "UnsupportedOperationException"),
        ),
        ("0x80000123", (500, "InternalException"), (500, "InternalException")),
    ];
    for isolation in ISOLATIONS {
        let Some(rig) = Rig::start(Kind::SoftHsm2, &["table"], isolation) else { return };
        let made = rig.encrypt().ok();
        for (code, encrypting, decrypting) in table {
            for ((function, act), (status, error)) in [(ENCRYPT, encrypting), (DECRYPT, decrypting)] {
                // A health check may come first and take the fault; then it is tried again.
                let reply = wait_for("a request that meets the fault", || {
                    let rule = rig.faults().fail(function, code, When::Next(1));
                    let reply = act(&rig, &made);
                    let hit = rig.faults().hits(rule) == 1;
                    rig.faults().lift(rule);
                    rig.until_active();
                    (hit && reply.status == status).then_some(reply)
                });
                if status == 200 {
                    reply.ok();
                } else {
                    reply.refused(status, error);
                    assert!(!reply.text().contains("CKR"), "{}", reply.text());
                }
            }
        }
    }
}

#[test]
fn when_one_hsm_of_two_hangs_requests_go_to_the_other() {
    for isolation in ISOLATIONS {
        let Some(rig) = Rig::start(Kind::SoftHsm2, &["hangs", "works"], isolation) else { return };
        let rule = rig.faults().hang("C_Encrypt", When::Always);
        let answers = rig.load(8, 10);
        assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 503)), "{answers:?}");
        assert!(answers.iter().all(|(_, time)| *time < BOUNDED), "{answers:?}");
        let served = answers.iter().filter(|(status, _)| *status == 200).count();
        assert!(served * 10 >= answers.len() * 9, "{served} of {}", answers.len());
        wait_for("one that is out of service", || (rig.health()[0] == "UNAVAILABLE").then_some(()));
        assert_eq!(rig.ping(), 200);
        let answers = rig.load(8, 10);
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        assert_eq!(rig.who_serves(), "works");
        rig.faults().lift(rule);
        rig.until_active();
    }
}

/// Requests fail in time while the fault lasts, health and `/ping` answer at once, and all is well within seconds after it.
fn lasts(isolation: &'static str, label: &str, begin: fn(&Rig) -> Option<Rule>, act: Act) {
    let Some(mut rig) = start(&[label], isolation) else { return };
    let made = rig.encrypt().ok();
    let rule = begin(&rig);
    for _ in 0..4 {
        let began = Instant::now();
        let reply = act(&rig, &made);
        assert!(began.elapsed() < BOUNDED, "{:?}: {}", began.elapsed(), reply.text());
        reply.refused(503, "DependencyTimeoutException");
    }
    // They ask no HSM: all of these together take less than one hang.
    let began = Instant::now();
    for _ in 0..20 {
        let _ = (rig.health(), rig.ping());
    }
    let told = began.elapsed() / 20;
    assert!(began.elapsed() < BOUNDED, "{told:?}");
    wait_for("a /ping that fails", || (rig.ping() == 503).then_some(()));
    assert_eq!(rig.health(), ["UNAVAILABLE"]);
    act(&rig, &made).refused(503, "DependencyTimeoutException");
    rig.host.assert_running();
    match rule {
        Some(rule) => rig.faults().lift(rule),
        None => rig.faults().insert_token(),
    }
    let ended = Instant::now();
    rig.until_active();
    println!("{isolation}, {label}: health and /ping {:?}, serves again after {:?}", told, ended.elapsed());
    rig.encrypt().ok();
    rig.assert_decrypts(&made);
}

#[test]
fn when_all_hang_in_encryptions_answers_come_in_time_and_service_comes_back() {
    for isolation in ISOLATIONS {
        lasts(isolation, "encrypts", |rig| Some(rig.faults().hang("C_Encrypt", When::Always)), ENCRYPT.1);
    }
}

#[test]
fn when_all_hang_in_every_call_answers_come_in_time_and_service_comes_back() {
    for isolation in ISOLATIONS {
        lasts(isolation, "everything", |rig| Some(rig.faults().hang("*", When::Always)), DECRYPT.1);
    }
}

#[test]
fn a_token_that_is_pulled_and_put_back_serves_again() {
    for isolation in ISOLATIONS {
        let pull = |rig: &Rig| {
            rig.faults().remove_token();
            None
        };
        lasts(isolation, "pulled", pull, ENCRYPT.1);
    }
}

#[test]
fn an_hsm_that_makes_a_bad_iv_is_out_until_a_restart_and_health_log_and_metrics_tell() {
    let Some(token) = Token::softhsm2("bad-iv") else { return };
    let part = Part::new(token);
    part.faults.form(Some(Form::IvInParams));
    let mut rig = Rig::of(vec![part], "process", |setup| {
        setup.config(|config, _| {
            let hsm = config["hsm"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
            hsm.insert("quirks".into(), "iv = \"parameters\"".parse::<toml::Table>().unwrap().into());
        })
    });
    rig.until_active();
    let made = rig.encrypt().ok();
    let serves = |rig: &Rig| rig.host.metric(&["holdfast_key_manager_serves", "bad-iv"]);
    let bad = |rig: &Rig| rig.host.metric(&["holdfast_hsm_bad_ivs_total", "bad-iv"]);
    assert_eq!((serves(&rig), bad(&rig)), (1, 0));
    rig.faults().iv(Some(IvFault::Zero));
    wait_for("a bad IV", || {
        assert_ne!(rig.encrypt().status, 200);
        (bad(&rig) > 0).then_some(())
    });
    rig.faults().iv(None);
    for _ in 0..10 {
        rig.encrypt().refused(503, "DependencyTimeoutException");
        rig.decrypt(&made).refused(503, "DependencyTimeoutException");
    }
    assert_eq!((rig.ping(), serves(&rig)), (503, 0));
    assert_eq!(rig.health(), ["UNAVAILABLE"]);
    assert_eq!(rig.host.log().matches("IVs can't be trusted").count(), 1, "{}", rig.host.log());
    rig.host.restart();
    rig.until_active();
    rig.assert_decrypts(&made);
}

#[test]
fn more_than_fits_the_queue_is_throttled_and_nothing_waits_for_ever() {
    let with = |setup: holdfast_tests::Setup| {
        // Long enough for all of them to arrive, on a busy machine too.
        setup.limit("budget", "3s").config(|config, _| {
            let hsm = config["hsm"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
            hsm.insert("sessions".into(), 1.into());
            hsm.insert("queue".into(), 2.into());
            hsm.insert("hang_time".into(), "60s".into());
        })
    };
    let Some(rig) = Rig::start_with(Kind::SoftHsm2, &["full"], "process", with) else { return };
    let rule = rig.faults().hang("C_Encrypt", When::Next(1));
    let answers = rig.load(12, 1);
    let count = |wanted| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert!(count(429) >= 1 && count(503) >= 1 && count(429) + count(503) == 12, "{answers:?}");
    assert!(answers.iter().all(|(_, time)| *time < BOUNDED), "{answers:?}");
    rig.faults().lift(rule);
    rig.until_active();
    wait_for("an encryption", || (rig.encrypt().status == 200).then_some(()));
}

#[test]
fn requests_whose_clients_are_gone_leave_nothing_behind() {
    let Some(rig) = start(&["gone"], "process") else { return };
    let rule = rig.faults().hang("C_EncryptInit", When::Next(1));
    let answers = rig.load(4, 3);
    assert!(answers.iter().all(|(_, time)| *time < BOUNDED), "{answers:?}");
    rig.faults().lift(rule);
    rig.until_active();
    let end = Instant::now() + PATIENCE;
    while rig.faults().inside(Function::C_EncryptInit) > 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    rig.encrypt().ok();
}
