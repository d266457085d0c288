//! The cipher that everything here is built from, behind one trait.

use aes::Aes256Enc;
use aes::cipher::BlockCipherEncrypt;
use aes::cipher::consts::{U12, U16};
use aes_gcm::AesGcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};

/// The length of a key, in bytes.
pub const KEY_LEN: usize = 32;
/// The length of a GCM tag, in bytes.
pub const TAG_LEN: usize = 16;
/// The length of the nonces that are made here, in bytes.
pub const NONCE_LEN: usize = 12;

/// The tag doesn't match, or a length is outside what GCM can do.
#[derive(Debug, PartialEq, Eq)]
pub struct CipherError;

/// AES-256 under one key, as a block cipher (FIPS 197) and in Galois/Counter Mode (NIST SP 800-38D).
///
/// An implementation wipes its key schedule when dropped. Another library takes its place by implementing this and
/// being named in [`Cipher`].
pub trait Aes256: Sized {
    /// Expands `key`.
    fn new(key: &[u8; KEY_LEN]) -> Self;

    /// Encrypts one block in place.
    fn encrypt_block(&self, block: &mut [u8; 16]);

    /// Encrypts `text` in place and gives the tag.
    fn gcm_seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CipherError>;

    /// Checks the tag in constant time, and only then decrypts `text` in place. `iv` has 12 or 16 bytes.
    fn gcm_open(
        &self,
        iv: &[u8],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CipherError>;
}

/// The implementation in use.
pub type Cipher = RustCrypto;

/// AES-256 of the crates aes and aes-gcm, which use the processor's instructions where it has them.
pub struct RustCrypto(Aes256Enc);

impl Aes256 for RustCrypto {
    fn new(key: &[u8; KEY_LEN]) -> Self {
        RustCrypto(Aes256Enc::new(key.into()))
    }

    fn encrypt_block(&self, block: &mut [u8; 16]) {
        self.0.encrypt_block(block.into());
    }

    fn gcm_seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CipherError> {
        AesGcm::<&Aes256Enc, U12>::from(&self.0)
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text))
            .map(Into::into)
            .map_err(|_| CipherError)
    }

    fn gcm_open(
        &self,
        iv: &[u8],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CipherError> {
        let (text, tag) = (InOutBuf::from(text), tag.into());
        if let Ok(iv) = <&[u8; 12]>::try_from(iv) {
            AesGcm::<&Aes256Enc, U12>::from(&self.0).decrypt_inout_detached(iv.into(), aad, text, tag)
        } else if let Ok(iv) = <&[u8; 16]>::try_from(iv) {
            AesGcm::<&Aes256Enc, U16>::from(&self.0).decrypt_inout_detached(iv.into(), aad, text, tag)
        } else {
            return Err(CipherError);
        }
        .map_err(|_| CipherError)
    }
}
