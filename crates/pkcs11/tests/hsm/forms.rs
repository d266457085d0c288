//! HSMs with ways of their own.

use crate::rig::{BOTH, Part, Rig, TEXT, eventually, start_fleet};
use holdfast_pkcs11::{
    BackendError, FleetSettings, GcmParameters, Isolation, IvSource, Quirks, Status, TagPlace,
};
use holdfast_test_tokens::{Form, GcmParams, IvFault, Token};
use std::time::Duration;

fn rig(label: &str, isolation: Isolation, prepare: impl FnOnce(&Part), quirks: Quirks) -> Option<Rig> {
    let part = Part::new(Token::softhsm2(label)?);
    prepare(&part);
    let rig =
        Rig::start(vec![part], isolation, |_, settings: &mut FleetSettings| settings.hsms[0].quirks = quirks);
    rig.until_active();
    Some(rig)
}

const FORMS: [(Form, IvSource); 4] = [
    (Form::IvInParams, IvSource::Parameters),
    (Form::IvBefore, IvSource::Prepended),
    (Form::IvAfter, IvSource::Appended),
    (Form::Message, IvSource::Message),
];

#[test]
fn ivs_of_the_hsm_come_back_in_every_form() {
    for isolation in BOTH {
        for (form, iv) in FORMS {
            let quirks = Quirks { iv, ..Quirks::default() };
            let Some(rig) = rig("forms", isolation, |part| part.faults.form(Some(form)), quirks) else {
                return;
            };
            let made = eventually(|| rig.encrypt());
            assert!([12, 16].contains(&made.iv.len()));
            assert_ne!(eventually(|| rig.encrypt()).iv, made.iv);
            assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
        }
    }
}

#[test]
fn a_zero_or_repeated_iv_fails_the_request_and_takes_the_hsm_out_for_good() {
    for (form, iv) in FORMS {
        for (fault, why) in [(IvFault::Zero, "zeros"), (IvFault::Repeat, "twice")] {
            let quirks = Quirks { iv, ..Quirks::default() };
            let prepare = |part: &Part| part.faults.form(Some(form));
            let Some(mut rig) = rig("bad-iv", Isolation::Process, prepare, quirks) else { return };
            let made = eventually(|| rig.encrypt());
            rig.faults().iv(Some(fault));
            // The first one that is repeated isn't yet.
            let error = (0..3).find_map(|_| rig.encrypt().err()).unwrap();
            assert!(
                matches!(&error, BackendError::Failed(text) | BackendError::Unavailable(text) if text.contains(why)),
                "{error}"
            );
            assert!(rig.until(|rig| !rig.fleet.can_serve()));
            assert!(matches!(rig.status(), Status::Unavailable(text) if text.contains(why)));
            assert!(rig.encrypt().is_err());
            // No probe brings it back, though its IVs are good again; it isn't even asked.
            rig.faults().iv(None);
            rig.fleet.check_now();
            assert!(!rig.fleet.wait_until(Duration::from_secs(1), |fleet| fleet.can_serve()));
            assert!(matches!(rig.decrypt(&made), Err(BackendError::Unavailable(text)) if text.contains(why)));
            assert!(rig.fleet.health()[0].bad_ivs > 0);
            let another = start_fleet(&rig.parts, Isolation::Process, rig.state.path(), |_, settings| {
                settings.hsms[0].quirks = quirks;
            });
            rig.fleet = another;
            rig.until_active();
            assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
        }
    }
}

#[test]
fn the_other_hsms_of_a_fleet_serve_on_when_one_makes_a_bad_iv() {
    for isolation in BOTH {
        let tokens: Option<Vec<_>> = ["good", "bad"].into_iter().map(Token::softhsm2).collect();
        let Some(tokens) = tokens else { return };
        let parts: Vec<_> = tokens.into_iter().map(Part::new).collect();
        parts.iter().for_each(|part| part.faults.form(Some(Form::IvInParams)));
        let rig = Rig::start(parts, isolation, |_, settings| {
            settings.hsms.iter_mut().for_each(|hsm| hsm.quirks.iv = IvSource::Parameters);
        });
        rig.until_active();
        rig.parts[1].faults.iv(Some(IvFault::Zero));
        // Its turn comes; the caller gets the other's ciphertext.
        while rig.fleet.health()[1].bad_ivs == 0 {
            assert_eq!(&*eventually(|| rig.encrypt()).hsm, "good");
        }
        assert!(matches!(&rig.fleet.health()[1].status, Status::Unavailable(why) if why.contains("zeros")));
        rig.parts[1].faults.iv(None);
        rig.fleet.check_now();
        assert!(!rig.fleet.wait_until(Duration::from_secs(1), |fleet| {
            !matches!(fleet.health()[1].status, Status::Unavailable(_))
        }));
        let made = eventually(|| rig.encrypt());
        assert_eq!((&*made.hsm, eventually(|| rig.decrypt(&made)).as_slice()), ("good", TEXT));
    }
}

#[test]
fn the_parameters_take_each_form() {
    let variants = [
        (GcmParams::IvBits, GcmParameters::Standard),
        (GcmParams::NoIvBits, GcmParameters::IvBitsZero),
        (GcmParams::Short, GcmParameters::WithoutIvBits),
    ];
    for (insists, parameters) in variants {
        let quirks = Quirks { parameters, ..Quirks::default() };
        let prepare = |part: &Part| part.faults.gcm_params(Some(insists));
        let Some(rig) = rig("params", Isolation::Process, prepare, quirks) else { return };
        let made = eventually(|| rig.encrypt());
        assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
    }
}

#[test]
fn a_vendors_own_number_for_the_mechanism_is_used() {
    let quirks = Quirks { iv: IvSource::Prepended, mechanism: 0x8000_1087, ..Quirks::default() };
    let prepare = |part: &Part| part.faults.form(Some(Form::IvBefore));
    let Some(rig) = rig("number", Isolation::Process, prepare, quirks) else { return };
    let made = eventually(|| rig.encrypt());
    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
    // SoftHSM2 itself doesn't know it.
    rig.faults().form(None);
    rig.fleet.check_now();
    let says =
        |rig: &Rig| matches!(rig.status(), Status::Unavailable(why) if why.contains("CKR_MECHANISM_INVALID"));
    assert!(rig.until(says), "{:?}", rig.status());
}

#[test]
fn a_tag_apart_goes_by_the_message_functions() {
    for iv in [IvSource::Host, IvSource::Message] {
        for isolation in BOTH {
            let quirks = Quirks { iv, tag: TagPlace::Apart, ..Quirks::default() };
            let Some(rig) = rig("apart", isolation, |part| part.faults.form(Some(Form::Message)), quirks)
            else {
                return;
            };
            let made = eventually(|| rig.encrypt());
            assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
            let mut altered = made.clone();
            altered.tag[0] ^= 1;
            assert!(matches!(rig.decrypt(&altered), Err(BackendError::InvalidCiphertext)));
        }
    }
}

#[test]
fn kryoptic_makes_ivs_by_its_own_message_functions() {
    let Some(token) = Token::kryoptic("kryoptic") else { return };
    let quirks = Quirks { iv: IvSource::Message, tag: TagPlace::Apart, ..Quirks::default() };
    let rig = Rig::start(vec![Part::new(token)], Isolation::Process, |_, settings| {
        settings.hsms[0].quirks = quirks
    });
    rig.until_active();
    let made = eventually(|| rig.encrypt());
    assert_ne!(eventually(|| rig.encrypt()).iv, made.iv);
    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
}

#[test]
fn a_module_that_is_not_safe_for_threads_is_called_one_at_a_time() {
    for isolation in BOTH {
        let quirks = Quirks { thread_safe: false, ..Quirks::default() };
        let Some(rig) = rig("alone", isolation, |part| part.faults.exclusive(true), quirks) else { return };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| drop(eventually(|| rig.encrypt()))));
            }
        });
        assert_eq!((rig.faults().overlaps(), rig.faults().most_inside_at_once()), (0, 1));
    }
}

#[test]
fn an_hsm_that_takes_an_iv_of_its_own_although_it_was_given_one_is_taken_out() {
    for isolation in BOTH {
        let Some(rig) = rig("own-iv", isolation, |_| (), Quirks::default()) else { return };
        eventually(|| rig.encrypt());
        rig.faults().iv(Some(IvFault::Own));
        let error = (0..3).find_map(|_| rig.encrypt().err()).unwrap();
        let why = "another IV than it was given";
        assert!(
            matches!(&error, BackendError::Failed(text) | BackendError::Unavailable(text) if text.contains(why)),
            "{error}"
        );
        assert!(rig.until(|rig| !rig.fleet.can_serve()));
        assert!(matches!(rig.status(), Status::Unavailable(text) if text.contains(why)));
    }
}
