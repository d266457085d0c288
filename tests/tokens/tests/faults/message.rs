//! The message functions of PKCS#11 3.0: kryoptic's own, and on top of SoftHSM2.

use cryptoki::error::RvError;
use cryptoki::mechanism::aead::{GcmMessageParams, GeneratorFunction};
use cryptoki::mechanism::{Mechanism, MessageParam};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use holdfast_test_tokens::{Form, Function, IvFault, Token, When};

use crate::client::{AAD, Client, TEXT, code, decrypt_with};

struct Sealed {
    iv: [u8; 12],
    tag: [u8; 16],
    text: Vec<u8>,
}

fn encrypt(session: &Session, key: ObjectHandle) -> Result<Sealed, RvError> {
    let mut sealed = Sealed { iv: [0; 12], tag: [0; 16], text: Vec::new() };
    let mut params =
        GcmMessageParams::new(&mut sealed.iv, 0.into(), GeneratorFunction::GenerateRandom, &mut sealed.tag)
            .unwrap();
    session.message_encrypt_init(&Mechanism::AesGcmMessage(params), key).map_err(code)?;
    params =
        GcmMessageParams::new(&mut sealed.iv, 0.into(), GeneratorFunction::GenerateRandom, &mut sealed.tag)
            .unwrap();
    let text = session.encrypt_message(&MessageParam::AesGcmMessage(params), AAD, TEXT).map_err(code);
    session.message_encrypt_final().map_err(code)?;
    sealed.text = text?;
    Ok(sealed)
}

fn clients() -> impl Iterator<Item = Client> {
    let own = Client::of(Token::kryoptic("message"));
    let on_top = Client::with(Token::softhsm2("message"), |faults| faults.form(Some(Form::Message)));
    [own, on_top].into_iter().flatten()
}

#[test]
fn messages_have_a_random_iv_and_a_tag_of_their_own() {
    for client in clients() {
        let (session, key) = client.session();
        let (one, two) = (encrypt(&session, key).unwrap(), encrypt(&session, key).unwrap());
        assert_ne!(one.iv, two.iv);
        assert_ne!(one.iv, [0; 12]);
        assert_eq!(one.text.len(), TEXT.len());
        assert!(client.faults.calls(Function::C_EncryptMessage) > 0);

        // The token's 2.40 functions agree.
        let joined = [&one.text[..], &one.tag].concat();
        assert_eq!(decrypt_with(&session, key, &one.iv, &joined).unwrap(), TEXT);

        let Sealed { mut iv, mut tag, text } = two;
        let generator = GeneratorFunction::NoGenerate;
        let params = GcmMessageParams::new(&mut iv, 0.into(), generator, &mut tag).unwrap();
        session.message_decrypt_init(&Mechanism::AesGcmMessage(params), key).unwrap();
        let plain = session.decrypt_message(&MessageParam::AesGcmMessage(params), AAD, &text).unwrap();
        assert_eq!(plain, TEXT);
        session.message_decrypt_final().unwrap();
    }
}

#[test]
fn a_message_has_a_zero_or_repeated_iv_on_command() {
    for client in clients() {
        let (session, key) = client.session();
        let honest = encrypt(&session, key).unwrap();
        client.faults.iv(Some(IvFault::Repeat));
        let repeated = encrypt(&session, key).unwrap();
        assert_eq!(repeated.iv, honest.iv);
        assert_eq!(repeated.text, honest.text, "it was encrypted with another IV");
        client.faults.iv(Some(IvFault::Zero));
        let zero = encrypt(&session, key).unwrap();
        assert_eq!(zero.iv, [0; 12]);
        let joined = [&zero.text[..], &zero.tag].concat();
        assert_eq!(decrypt_with(&session, key, &zero.iv, &joined).unwrap(), TEXT);
        client.faults.iv(None);
        assert_ne!(encrypt(&session, key).unwrap().iv, honest.iv);
    }
}

#[test]
fn a_message_fails_on_command() {
    for client in clients() {
        let (session, key) = client.session();
        let _ = client.faults.fail("C_EncryptMessage", "CKR_DEVICE_ERROR", When::Next(1));
        assert_eq!(encrypt(&session, key).map(|sealed| sealed.text), Err(RvError::DeviceError));
        assert!(encrypt(&session, key).is_ok());
    }
}

#[test]
fn a_token_of_2_40_has_no_message_functions() {
    let Some(client) = Client::of(Token::softhsm2("2.40")) else { return };
    assert!(!client.pkcs11.is_fn_supported(cryptoki::context::Function::EncryptMessage));
}
