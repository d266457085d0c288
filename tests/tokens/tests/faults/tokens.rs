//! Faults of the token and its sessions.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cryptoki::error::RvError;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use holdfast_test_tokens::{Function, Token};

use crate::client::{Client, TEXT, code, decrypt, encrypt, wait_until};

#[test]
fn a_token_is_pulled_and_put_in_again() {
    for token in [Token::softhsm2("pulled"), Token::kryoptic("pulled")] {
        let Some(client) = Client::of(token) else { continue };
        let (session, key) = client.session();
        let sealed = encrypt(&session, key).unwrap();
        let slot = client.slot().unwrap();

        client.faults.remove_token();
        assert_eq!(encrypt(&session, key), Err(RvError::DeviceRemoved));
        assert_eq!(client.pkcs11.get_slots_with_token().unwrap(), []);
        assert_eq!(client.pkcs11.open_ro_session(slot).map_err(code).unwrap_err(), RvError::TokenNotPresent);
        assert_eq!(client.faults.sessions(), 0);
        client.faults.remove_token_with("CKR_SESSION_HANDLE_INVALID");
        assert_eq!(encrypt(&session, key), Err(RvError::SessionHandleInvalid));

        client.faults.insert_token();
        assert_eq!(encrypt(&session, key), Err(RvError::SessionHandleInvalid));
        let logged_out = client.open().unwrap();
        client.login(&logged_out).unwrap();
        let (session, key) = client.session();
        assert_eq!(decrypt(&session, key, &sealed).unwrap(), TEXT);
    }
}

#[test]
fn a_token_that_was_out_for_a_moment_has_no_sessions_left() {
    let Some(client) = Client::of(Token::softhsm2("moment")) else { return };
    let (session, key) = client.session();
    client.faults.insert_token();
    assert_eq!(encrypt(&session, key), Err(RvError::SessionHandleInvalid));
    let (session, key) = client.session();
    assert!(encrypt(&session, key).is_ok());
    assert_eq!(client.faults.sessions(), 1);
}

#[test]
fn sessions_are_limited() {
    let Some(client) = Client::of(Token::softhsm2("limited")) else { return };
    client.faults.session_limit(Some(2));
    let (first, key) = client.session();
    let second = client.open().unwrap();
    assert_eq!(client.open().unwrap_err(), RvError::SessionCount);
    drop(second);
    let _third = client.open().unwrap();
    assert!(encrypt(&first, key).is_ok());
    client.faults.session_limit(None);
    assert!(client.open().is_ok());
    assert_eq!(client.faults.failures(Function::C_OpenSession), 1);
}

#[test]
fn token_flags_can_be_put_on() {
    let Some(client) = Client::of(Token::softhsm2("flags")) else { return };
    let info = || client.pkcs11.get_token_info(client.slot().unwrap()).unwrap();
    assert!(!info().user_pin_final_try() && !info().user_pin_locked());
    client.faults.token_flags(cryptoki_sys::CKF_USER_PIN_FINAL_TRY | cryptoki_sys::CKF_USER_PIN_LOCKED);
    assert!(info().user_pin_final_try() && info().user_pin_locked());
    client.faults.clear();
    assert!(!info().user_pin_locked());
}

#[test]
fn a_changed_pin_holds_for_who_loads_the_module_afterwards() {
    for token in [Token::softhsm2("pin"), Token::kryoptic("pin")] {
        let Some(token) = token else { continue };
        let old = token.pin();
        token.change_pin("another-pin");
        let client = Client::of(Some(token)).unwrap();
        let session = client.open().unwrap();
        let refused = session.login(UserType::User, Some(&AuthPin::from(old.as_str()))).map_err(code);
        assert_eq!(refused, Err(RvError::PinIncorrect));
        client.login(&session).unwrap();
    }
}

#[test]
fn two_tokens_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (Client::of(Token::softhsm2("one")), Client::of(Token::softhsm2("two")));
    let (Some(one), Some(two)) = (one, two) else { return };
    let (of_one, key_of_one) = one.session();
    let (of_two, key_of_two) = two.session();
    one.faults.remove_token();
    assert_eq!(encrypt(&of_one, key_of_one), Err(RvError::DeviceRemoved));
    let sealed = encrypt(&of_two, key_of_two).unwrap();
    one.faults.insert_token();
    let (of_one, key_of_one) = one.session();
    assert!(decrypt(&of_one, key_of_one, &sealed).is_err());
    assert_ne!(one.token.serial(), two.token.serial());
}

#[test]
fn one_softhsm2_has_two_tokens() {
    let Some(token) = Token::softhsm2("left") else { return };
    let right = token.beside("right");
    right.create_key("demo");
    let Some(left) = Client::of(Some(token)) else { return };
    assert_eq!(left.pkcs11.get_slots_with_initialized_token().unwrap().len(), 2);
    assert_eq!(holdfast_test_tokens::keys(&right.session(), "demo").len(), 1);
    assert_ne!(left.token.serial(), right.serial());
}

/// Ends the other threads when the test fails, too.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_token_is_pulled_again_and_again_under_load() {
    for token in [Token::softhsm2("load"), Token::kryoptic("load")] {
        let Some(client) = Client::of(token) else { continue };
        let slot = client.slot().unwrap();
        let stop = AtomicBool::new(false);
        let served = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(session) = client.pkcs11.open_ro_session(slot) else { continue };
                        // Another thread may have logged in.
                        let _ = client.login(&session);
                        let found = session.find_objects(&[Attribute::Label(b"demo".to_vec())]);
                        let found = found.ok().and_then(|keys| keys.first().copied());
                        while found.is_some_and(|key| encrypt(&session, key).is_ok()) {
                            served.fetch_add(1, Ordering::Relaxed);
                            if stop.load(Ordering::Relaxed) {
                                return;
                            }
                        }
                    }
                });
            }
            let _stop = StopOnDrop(&stop);
            for _ in 0..10 {
                let before = served.load(Ordering::Relaxed);
                wait_until("calls that succeed", || served.load(Ordering::Relaxed) > before + 5);
                client.faults.remove_token();
                wait_until("no sessions", || client.faults.sessions() == 0);
                client.faults.insert_token();
            }
        });
    }
}
