//! PINs: a wrong one costs one try, and a locked token is told.

use holdfast_test_tokens::{Function, Token};
use holdfast_tests::wait_for;

use crate::rig::{ISOLATIONS, Part, Rig};

#[test]
fn a_wrong_pin_is_tried_once_whatever_restarts() {
    for isolation in ISOLATIONS {
        let Some(token) = Token::softhsm2("wrong-pin") else { return };
        let right = token.pin();
        std::fs::write(token.pin_file(), "9999-9999\n").unwrap();
        let mut rig = Rig::of(vec![Part::new(token)], isolation, |setup| setup);
        let refused = |rig: &Rig, times: usize| {
            wait_for("a PIN that isn't tried again", || {
                (rig.host.log().matches("isn't tried again").count() >= times).then_some(())
            });
        };
        rig.encrypt().refused(503, "DependencyTimeoutException");
        refused(&rig, 1);
        assert_eq!(rig.faults().calls(Function::C_Login), 1);
        let told = rig.host.log().matches("isn't tried again").count();
        rig.host.restart();
        assert_eq!(rig.ping(), 503);
        rig.encrypt().refused(503, "DependencyTimeoutException");
        refused(&rig, told + 1);
        assert_eq!(rig.faults().calls(Function::C_Login), 1, "after a restart");
        // No log has it, and a terminal's command doesn't try it either.
        assert!(!rig.host.log().contains("9999"));
        std::fs::write(rig.parts[0].token.pin_file(), &right).unwrap();
        rig.until_active();
        rig.encrypt().ok();
    }
}

#[test]
fn a_token_that_two_sections_find_has_its_wrong_pin_tried_once() {
    for isolation in ISOLATIONS {
        let Some(token) = Token::softhsm2("found-twice") else { return };
        let serial = token.serial();
        std::fs::write(token.pin_file(), "9999-9999\n").unwrap();
        let mut rig = Rig::of(vec![Part::new(token)], isolation, |setup| setup.key_store("other", "/other"));
        let file = rig.host.config_file();
        let mut config: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let hsms = config["hsm"].as_array_mut().unwrap();
        let mut second = hsms[0].as_table().unwrap().clone();
        second.remove("token_label");
        second.insert("token_serial".into(), serial.into());
        second.insert("name".into(), "by-serial".into());
        hsms.push(second.into());
        let other = config["key_store"][1].as_table_mut().unwrap();
        other.insert("hsm".into(), vec!["by-serial"].into());
        std::fs::write(&file, config.to_string()).unwrap();
        rig.host.restart();
        for hsm in ["found-twice", "by-serial"] {
            wait_for("an HSM whose PIN isn't tried", || {
                let is_told = |line: &str| line.contains(hsm) && line.contains("isn't tried again");
                rig.host.log().lines().any(is_told).then_some(())
            });
        }
        assert_eq!(rig.faults().calls(Function::C_Login), 1, "{isolation}");
    }
}

#[test]
fn o6_a_locked_token_is_an_invalid_state() {
    let Some(token) = Token::softhsm2("locked") else { return };
    let part = Part::new(token);
    // CKF_USER_PIN_LOCKED.
    part.faults.token_flags(0x4_0000);
    let rig = Rig::of(vec![part], "process", |setup| setup);
    wait_for("InvalidStateException", || {
        let reply = rig.encrypt();
        (reply.status == 400).then(|| reply.refused(400, "InvalidStateException"))
    });
    assert_eq!((rig.ping(), rig.health()), (503, vec!["UNAVAILABLE".to_owned()]));
    assert_eq!(rig.faults().calls(Function::C_Login), 0);
    rig.faults().token_flags(0);
    rig.until_active();
    rig.encrypt().ok();
}
