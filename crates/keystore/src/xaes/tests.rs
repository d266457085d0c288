//! The vectors of <https://c2sp.org/XAES-256-GCM>, section "Test vectors".

use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

use super::*;
use crate::crypto::TAG_LEN;

fn seal(key: &[u8; 32], nonce: &[u8; 24], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let (context, iv) = (nonce[..12].try_into().unwrap(), nonce[12..].try_into().unwrap());
    let mut text = plaintext.to_vec();
    let tag = message_cipher(key, context).gcm_seal(iv, aad, &mut text).unwrap();
    [text.as_slice(), &tag].concat()
}

fn open(key: &[u8; 32], nonce: &[u8; 24], ciphertext: &[u8], aad: &[u8]) -> Vec<u8> {
    let (text, tag) = ciphertext.split_at(ciphertext.len() - TAG_LEN);
    let mut text = text.to_vec();
    message_cipher(key, nonce[..12].try_into().unwrap())
        .gcm_open(&nonce[12..], aad, &mut text, tag.try_into().unwrap())
        .unwrap();
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const NONCE: &[u8; 24] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

#[test]
fn vector_with_the_top_bit_clear() {
    let ciphertext = seal(&[1; 32], NONCE, b"XAES-256-GCM", b"");
    assert_eq!(hex(&ciphertext), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
    assert_eq!(open(&[1; 32], NONCE, &ciphertext, b""), b"XAES-256-GCM");
}

#[test]
fn vector_with_the_top_bit_set() {
    let aad = b"c2sp.org/XAES-256-GCM";
    let ciphertext = seal(&[3; 32], NONCE, b"XAES-256-GCM", aad);
    assert_eq!(hex(&ciphertext), "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
    assert_eq!(open(&[3; 32], NONCE, &ciphertext, aad), b"XAES-256-GCM");
}

#[test]
fn accumulated_vectors() {
    assert_eq!(accumulate(10_000), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

#[test]
#[ignore = "takes seconds"]
fn accumulated_vectors_of_a_million() {
    assert_eq!(accumulate(1_000_000), "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15");
}

fn accumulate(iterations: usize) -> String {
    let mut stream = Shake128::default().finalize_xof();
    let mut hash = Shake128::default();
    let short = |stream: &mut dyn XofReader| {
        let mut len = [0];
        stream.read(&mut len);
        let mut bytes = vec![0; usize::from(len[0])];
        stream.read(&mut bytes);
        bytes
    };
    for _ in 0..iterations {
        let (mut key, mut nonce) = ([0; 32], [0; 24]);
        stream.read(&mut key);
        stream.read(&mut nonce);
        let (plaintext, aad) = (short(&mut stream), short(&mut stream));
        let ciphertext = seal(&key, &nonce, &plaintext, &aad);
        assert_eq!(open(&key, &nonce, &ciphertext, &aad), plaintext);
        hash.update(&ciphertext);
    }
    let mut digest = [0; 32];
    hash.finalize_xof().read(&mut digest);
    hex(&digest)
}
