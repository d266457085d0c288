//! Faults of single calls.

use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use holdfast_test_tokens::{Function, Token, When};

use crate::client::{Client, TEXT, decrypt, encrypt, wait_until};

#[test]
fn without_commands_calls_go_through() {
    for token in [Token::softhsm2("through"), Token::kryoptic("through")] {
        let Some(client) = Client::of(token) else { continue };
        let (session, key) = client.session();
        let sealed = encrypt(&session, key).unwrap();
        assert_eq!(sealed.len(), TEXT.len() + 16);
        assert_eq!(decrypt(&session, key, &sealed).unwrap(), TEXT);
        let mut forged = sealed.clone();
        forged[0] ^= 1;
        assert!(decrypt(&session, key, &forged).is_err());

        // The module that the token's own keys were made with sees the same key.
        let own = client.token.session();
        let own_key = holdfast_test_tokens::keys(&own, "demo")[0];
        assert_eq!(decrypt(&own, own_key, &sealed).unwrap(), TEXT);
    }
}

#[test]
fn calls_and_sessions_are_counted() {
    let Some(client) = Client::of(Token::softhsm2("counts")) else { return };
    let faults = &client.faults;
    let (session, key) = client.session();
    let before = faults.calls(Function::C_EncryptInit);
    encrypt(&session, key).unwrap();
    assert_eq!(faults.calls(Function::C_EncryptInit) - before, 1);
    assert_eq!(faults.calls(Function::C_Login), 1);
    let second = client.open().unwrap();
    assert_eq!((faults.sessions(), faults.most_sessions()), (2, 2));
    drop(second);
    drop(session);
    assert_eq!((faults.sessions(), faults.most_sessions()), (0, 2));
    assert_eq!(faults.processes(), [std::process::id()]);
    client.pkcs11.clone().finalize().unwrap();
    assert_eq!(faults.calls(Function::C_Finalize), 1);
}

#[test]
fn a_call_fails_with_the_chosen_code_as_often_as_chosen() {
    for token in [Token::softhsm2("fails"), Token::kryoptic("fails")] {
        let Some(client) = Client::of(token) else { continue };
        let faults = &client.faults;
        let (session, key) = client.session();
        let sealed = encrypt(&session, key).unwrap();

        let rule = faults.fail("C_EncryptInit", "CKR_DEVICE_ERROR", When::Next(2));
        assert_eq!(encrypt(&session, key), Err(RvError::DeviceError));
        assert_eq!(encrypt(&session, key), Err(RvError::DeviceError));
        assert_eq!(encrypt(&session, key).unwrap(), sealed);
        assert_eq!(faults.hits(rule), 2);
        assert_eq!(faults.failures(Function::C_EncryptInit), 2);

        let rule = faults.fail("C_DecryptInit", "CKR_DEVICE_MEMORY", When::Every(3));
        let results = [(); 6].map(|()| decrypt(&session, key, &sealed).is_ok());
        assert_eq!(results, [true, true, false, true, true, false]);
        faults.lift(rule);
        assert!(decrypt(&session, key, &sealed).is_ok());

        let _ = faults.fail("*", "0x80000001", When::Always);
        assert_eq!(encrypt(&session, key), Err(RvError::VendorDefined(0x8000_0001)));
        faults.clear();
        assert!(encrypt(&session, key).is_ok());
    }
}

#[test]
fn a_failed_call_ends_the_operation() {
    let Some(client) = Client::of(Token::softhsm2("ends")) else { return };
    let (session, key) = client.session();
    let sealed = encrypt(&session, key).unwrap();
    let _ = client.faults.fail("C_Encrypt,C_Decrypt", "CKR_FUNCTION_FAILED", When::Next(2));
    assert_eq!(encrypt(&session, key), Err(RvError::FunctionFailed));
    assert_eq!(decrypt(&session, key, &sealed), Err(RvError::FunctionFailed));
    // Would be CKR_OPERATION_ACTIVE.
    assert_eq!(encrypt(&session, key).unwrap(), sealed);
    assert_eq!(decrypt(&session, key, &sealed).unwrap(), TEXT);
}

#[test]
fn a_delay_holds_up_its_call_alone() {
    let Some(client) = Client::of(Token::softhsm2("delays")) else { return };
    let (slow, key) = client.session();
    let (quick, _) = client.session();
    let sealed = encrypt(&quick, key).unwrap();
    let delay = Duration::from_millis(1500);
    let rule = client.faults.delay("C_EncryptInit", delay);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let encrypted = scope.spawn(move || encrypt(&slow, key));
        wait_until("the slow call", || client.faults.inside(Function::C_EncryptInit) == 1);
        assert_eq!(decrypt(&quick, key, &sealed).unwrap(), TEXT);
        assert!(!encrypted.is_finished());
        assert_eq!(encrypted.join().unwrap().unwrap(), sealed);
        assert!(began.elapsed() >= delay);
    });
    assert_eq!(client.faults.hits(rule), 1);
    assert_eq!(client.faults.inside(Function::C_EncryptInit), 0);
}

#[test]
fn a_call_hangs_until_the_rule_is_lifted() {
    let Some(client) = Client::of(Token::softhsm2("hangs")) else { return };
    let faults = &client.faults;
    let rule = faults.hang("C_EncryptInit", When::Next(3));
    std::thread::scope(|scope| {
        let hanging = [(); 3].map(|()| {
            let (session, key) = client.session();
            scope.spawn(move || encrypt(&session, key))
        });
        wait_until("three hanging calls", || faults.inside(Function::C_EncryptInit) == 3);
        assert_eq!(faults.most_inside(Function::C_EncryptInit), 3);
        let (session, key) = client.session();
        let sealed = encrypt(&session, key).unwrap();
        assert!(hanging.iter().all(|thread| !thread.is_finished()));
        faults.lift(rule);
        for thread in hanging {
            assert_eq!(thread.join().unwrap().unwrap(), sealed);
        }
    });
}

#[test]
fn a_call_during_another_is_counted_and_refused_on_command() {
    let Some(client) = Client::of(Token::softhsm2("alone")) else { return };
    let faults = &client.faults;
    let (first, key) = client.session();
    let (second, _) = client.session();
    encrypt(&first, key).unwrap();
    assert_eq!((faults.overlaps(), faults.most_inside_at_once()), (0, 1));
    let rule = faults.hang("C_DecryptInit", When::Always);
    std::thread::scope(|scope| {
        let sealed = encrypt(&second, key).unwrap();
        let hanging = scope.spawn(move || decrypt(&first, key, &sealed));
        wait_until("the hanging call", || faults.inside(Function::C_DecryptInit) == 1);
        assert!(encrypt(&second, key).is_ok());
        assert!(faults.overlaps() > 0);
        assert_eq!(faults.most_inside_at_once(), 2);
        faults.exclusive(true);
        assert_eq!(encrypt(&second, key), Err(RvError::GeneralError));
        faults.exclusive(false);
        faults.lift(rule);
        assert!(hanging.join().unwrap().is_ok());
    });
}
