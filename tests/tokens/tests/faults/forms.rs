//! Vendors' forms of GCM on top of SoftHSM2.

use cryptoki::error::RvError;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use holdfast_test_tokens::{Form, GcmParams as Variant, IvFault, Token};

use crate::client::{AAD, Client, TEXT, code, decrypt, decrypt_with, encrypt};

/// Encrypts with this IV in the parameters, which is what they hold afterwards.
fn encrypt_with(session: &Session, key: ObjectHandle, iv: &mut [u8]) -> Result<Vec<u8>, RvError> {
    let params = GcmParams::new(iv, AAD, 128.into()).unwrap();
    session.encrypt(&Mechanism::AesGcm(params), key, TEXT).map_err(code)
}

fn client(form: Form) -> Option<Client> {
    Client::with(Token::softhsm2("form"), |faults| faults.form(Some(form)))
}

/// By a session without form.
fn plainly(client: &Client, iv: &[u8], sealed: &[u8]) -> Result<Vec<u8>, RvError> {
    let session = client.token.session();
    let key = holdfast_test_tokens::keys(&session, "demo")[0];
    decrypt_with(&session, key, iv, sealed)
}

#[test]
fn the_iv_comes_back_in_the_parameters() {
    let Some(client) = client(Form::IvInParams) else { return };
    let (session, key) = client.session();
    let mut iv = [0; 12];
    let sealed = encrypt_with(&session, key, &mut iv).unwrap();
    assert_ne!(iv, [0; 12]);
    assert_eq!(plainly(&client, &iv, &sealed).unwrap(), TEXT);
    assert_eq!(decrypt_with(&session, key, &iv, &sealed).unwrap(), TEXT);
    // An IV of the caller's isn't taken.
    assert_eq!(encrypt_with(&session, key, &mut [1; 12]), Err(RvError::MechanismParamInvalid));

    client.faults.iv(Some(IvFault::Repeat));
    let mut again = [0; 12];
    assert_eq!(encrypt_with(&session, key, &mut again).unwrap(), sealed);
    assert_eq!(again, iv);
    client.faults.iv(Some(IvFault::Zero));
    let mut zero = [0; 12];
    let sealed = encrypt_with(&session, key, &mut zero).unwrap();
    assert_eq!(zero, [0; 12]);
    assert_eq!(plainly(&client, &zero, &sealed).unwrap(), TEXT);
}

#[test]
fn the_iv_comes_before_the_ciphertext() {
    let Some(client) = client(Form::IvBefore) else { return };
    let (session, key) = client.session();
    let sealed = encrypt_with(&session, key, &mut []).unwrap();
    assert_eq!(sealed.len(), 12 + TEXT.len() + 16);
    assert_eq!(plainly(&client, &sealed[..12], &sealed[12..]).unwrap(), TEXT);
    assert_eq!(decrypt_with(&session, key, &[], &sealed).unwrap(), TEXT);
    let mut forged = sealed.clone();
    forged[0] ^= 1;
    assert!(decrypt_with(&session, key, &[], &forged).is_err());
    assert_eq!(decrypt_with(&session, key, &[], &sealed[..20]), Err(RvError::EncryptedDataLenRange));
    assert_eq!(encrypt_with(&session, key, &mut [1; 12]), Err(RvError::MechanismParamInvalid));
    client.faults.iv(Some(IvFault::Repeat));
    assert_eq!(encrypt_with(&session, key, &mut []).unwrap(), encrypt_with(&session, key, &mut []).unwrap());
}

#[test]
fn the_iv_comes_after_the_tag() {
    let Some(client) = client(Form::IvAfter) else { return };
    let (session, key) = client.session();
    let sealed = encrypt_with(&session, key, &mut []).unwrap();
    assert_eq!(sealed.len(), TEXT.len() + 16 + 16);
    let (sealed, iv) = sealed.split_at(TEXT.len() + 16);
    assert_eq!(plainly(&client, iv, sealed).unwrap(), TEXT);
    assert_eq!(decrypt_with(&session, key, iv, sealed).unwrap(), TEXT);
}

#[test]
fn a_module_insists_on_its_variant_of_the_parameters() {
    let Some(client) = Client::of(Token::softhsm2("variants")) else { return };
    let (session, key) = client.session();
    let sealed = encrypt(&session, key).unwrap();
    // cryptoki fills in ulIvBits.
    client.faults.gcm_params(Some(Variant::IvBits));
    assert_eq!(decrypt(&session, key, &sealed).unwrap(), TEXT);
    for variant in [Variant::NoIvBits, Variant::Short] {
        client.faults.gcm_params(Some(variant));
        assert_eq!(encrypt(&session, key), Err(RvError::MechanismParamInvalid), "{variant:?}");
        assert_eq!(decrypt(&session, key, &sealed), Err(RvError::MechanismParamInvalid), "{variant:?}");
    }
    client.faults.gcm_params(None);
    assert!(encrypt(&session, key).is_ok());
}

/// `CK_GCM_PARAMS` without `ulIvBits`.
#[repr(C)]
struct ShortParams {
    iv: usize,
    iv_length: u64,
    aad: *const u8,
    aad_length: u64,
    tag_bits: u64,
}

#[test]
fn the_short_parameters_and_cloudhsms_own_mechanism_are_understood() {
    let token = Token::softhsm2("short");
    let Some(client) = Client::with(token, |faults| {
        faults.form(Some(Form::IvBefore));
        faults.gcm_params(Some(Variant::Short));
    }) else {
        return;
    };
    let (session, key) = client.session();
    let (aad, aad_length) = (AAD.as_ptr(), AAD.len() as u64);
    let params = ShortParams { iv: 0, iv_length: 0, aad, aad_length, tag_bits: 128 };
    let kind = MechanismType::new_vendor_defined(0x8000_1087).unwrap();
    let mechanism = || Mechanism::VendorDefined(VendorDefinedMechanism::new(kind, Some(&params)));
    let sealed = session.encrypt(&mechanism(), key, TEXT).unwrap();
    assert_eq!(plainly(&client, &sealed[..12], &sealed[12..]).unwrap(), TEXT);
    assert_eq!(session.decrypt(&mechanism(), key, &sealed).unwrap(), TEXT);
}
