//! AES-GCM in the forms that HSMs have it.

use super::{Module, ObjectHandle, SessionHandle};
use crate::quirks::{GcmParameters, IvSource, Quirks, TagPlace};
use crate::request::Iv;
use crate::rv::CallError;
use cryptoki_sys::*;
use std::ptr;
use zeroize::Zeroizing;

/// The tag's length in bytes.
pub const TAG_LEN: usize = 16;
const TAG_BITS: CK_ULONG = 128;

/// Why an operation gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GcmError {
    /// A function failed.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The output hasn't the form that the settings say.
    #[error("the HSM returned {0}; the setting for where its IV or tag stands may be wrong")]
    Form(&'static str),
}

/// `CK_GCM_PARAMS` without `ulIvBits`, as PKCS#11 2.40's text has it (its header has the field).
#[repr(C)]
struct WithoutIvBits {
    iv: *mut u8,
    iv_len: CK_ULONG,
    aad: *mut u8,
    aad_len: CK_ULONG,
    tag_bits: CK_ULONG,
}

/// A key in a session, for AES-GCM as its HSM does it.
#[derive(Clone, Copy)]
pub struct GcmKey<'a> {
    /// The module.
    pub module: &'a Module,
    /// A session that nobody else uses meanwhile.
    pub session: SessionHandle,
    /// The key.
    pub key: ObjectHandle,
    /// What the HSM does in its own way.
    pub quirks: &'a Quirks,
}

/// What the message functions take in their parameters.
struct Apart<'a> {
    iv: &'a mut [u8],
    generator: CK_GENERATOR_FUNCTION,
    tag: &'a mut [u8],
}

impl GcmKey<'_> {
    /// Encrypts. `iv` is the host's, and becomes the HSM's where that makes it. Gives ciphertext and tag, one after the
    /// other.
    pub fn encrypt(&self, iv: &mut Iv, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, GcmError> {
        let whole = plaintext.len() + TAG_LEN;
        match self.quirks.iv {
            source if source == IvSource::Message || self.quirks.tag == TagPlace::Apart => {
                self.encrypt_message(source, iv, aad, plaintext)
            }
            IvSource::Host => of_length(self.encrypt_plain(iv.bytes_mut(), aad, plaintext, 0)?, whole),
            IvSource::Parameters => {
                *iv = Iv::zero(12);
                of_length(self.encrypt_plain(iv.bytes_mut(), aad, plaintext, 0)?, whole)
            }
            source => {
                let out = self.encrypt_plain(&mut [], aad, plaintext, 16)?;
                split_iv(out, whole, source == IvSource::Prepended, iv)
            }
        }
    }

    /// Decrypts `sealed`: ciphertext and tag, one after the other, at least a tag long.
    pub fn decrypt(&self, iv: &Iv, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, GcmError> {
        let mut iv = *iv;
        let body = sealed.len().saturating_sub(TAG_LEN);
        // Room for the tag too: some modules decrypt all of it before they drop the tag.
        let mut out = Zeroizing::new(vec![0; sealed.len()]);
        let len = if self.quirks.tag == TagPlace::Apart {
            let (ciphertext, tag) = sealed.split_at(body);
            let apart = Apart { iv: iv.bytes_mut(), generator: CKG_NO_GENERATE, tag: &mut tag.to_vec() };
            self.message(false, apart, aad, ciphertext, &mut out)?
        } else if self.quirks.iv == IvSource::Prepended {
            self.plain(false, &mut [], aad, &[iv.bytes(), sealed].concat(), &mut out)?
        } else {
            self.plain(false, iv.bytes_mut(), aad, sealed, &mut out)?
        };
        if len != body {
            return Err(GcmError::Form("a plaintext of another length"));
        }
        out.truncate(len);
        Ok(out)
    }

    fn encrypt_plain(
        &self,
        iv: &mut [u8],
        aad: &[u8],
        plaintext: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, CallError> {
        let mut out = vec![0; plaintext.len() + TAG_LEN + room];
        let len = self.plain(true, iv, aad, plaintext, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// One operation by `C_EncryptInit` and `C_Encrypt`, or those of decryption.
    fn plain(
        &self,
        encrypt: bool,
        iv: &mut [u8],
        aad: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CallError> {
        let mut act = |mechanism: &mut CK_MECHANISM| {
            self.module.init(self.session, encrypt, mechanism, self.key)?;
            // The parameters stay alive: some modules read or write them here only.
            self.module.work(self.session, encrypt, data, out)
        };
        // Lossless: both have the pointer's size.
        let (iv_len, aad_len) = (iv.len() as CK_ULONG, aad.len() as CK_ULONG);
        let iv = if iv.is_empty() { ptr::null_mut() } else { iv.as_mut_ptr() };
        let aad = aad.as_ptr().cast_mut();
        let mechanism = |parameters: *mut std::ffi::c_void, size: usize| CK_MECHANISM {
            mechanism: self.quirks.mechanism,
            pParameter: parameters,
            ulParameterLen: size as CK_ULONG,
        };
        match self.quirks.parameters {
            GcmParameters::WithoutIvBits => {
                let mut parameters = WithoutIvBits { iv, iv_len, aad, aad_len, tag_bits: TAG_BITS };
                act(&mut mechanism((&raw mut parameters).cast(), size_of::<WithoutIvBits>()))
            }
            form @ (GcmParameters::Standard | GcmParameters::IvBitsZero) => {
                let mut parameters = CK_GCM_PARAMS {
                    pIv: iv,
                    ulIvLen: iv_len,
                    ulIvBits: if form == GcmParameters::Standard { iv_len * 8 } else { 0 },
                    pAAD: aad,
                    ulAADLen: aad_len,
                    ulTagBits: TAG_BITS,
                };
                act(&mut mechanism((&raw mut parameters).cast(), size_of::<CK_GCM_PARAMS>()))
            }
        }
    }

    fn encrypt_message(
        &self,
        source: IvSource,
        iv: &mut Iv,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, GcmError> {
        let mut out = vec![0; plaintext.len() + TAG_LEN];
        let (body, tag) = out.split_at_mut(plaintext.len());
        let generator = match source {
            // The other generators gave each of kryoptic's sessions a zero IV first.
            IvSource::Message => {
                *iv = Iv::zero(12);
                CKG_GENERATE_RANDOM
            }
            _ => CKG_NO_GENERATE,
        };
        let apart = Apart { iv: iv.bytes_mut(), generator, tag };
        match self.message(true, apart, aad, plaintext, body)? == plaintext.len() {
            true => Ok(out),
            false => Err(GcmError::Form("a ciphertext of another length")),
        }
    }

    /// One message by the message functions.
    fn message(
        &self,
        encrypt: bool,
        apart: Apart<'_>,
        aad: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CallError> {
        let mut parameters = CK_GCM_MESSAGE_PARAMS {
            pIv: apart.iv.as_mut_ptr(),
            ulIvLen: apart.iv.len() as CK_ULONG,
            ulIvFixedBits: 0,
            ivGenerator: apart.generator,
            pTag: apart.tag.as_mut_ptr(),
            ulTagBits: TAG_BITS,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: self.quirks.mechanism,
            pParameter: (&raw mut parameters).cast(),
            ulParameterLen: size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG,
        };
        self.module.message_init(self.session, encrypt, &mut mechanism, self.key)?;
        let result = self.module.message(self.session, encrypt, &mut parameters, aad, data, out);
        let ended = self.module.message_final(self.session, encrypt);
        result.and_then(|len| ended.map(|()| len))
    }
}

fn of_length(out: Vec<u8>, len: usize) -> Result<Vec<u8>, GcmError> {
    if out.len() == len { Ok(out) } else { Err(GcmError::Form("a ciphertext of another length")) }
}

/// Takes the IV out of an output that holds it before or after ciphertext and tag.
fn split_iv(mut out: Vec<u8>, len: usize, first: bool, iv: &mut Iv) -> Result<Vec<u8>, GcmError> {
    let iv_len = out.len().saturating_sub(len);
    let made =
        if first { out.drain(..iv_len).collect::<Vec<u8>>() } else { out.split_off(out.len() - iv_len) };
    *iv = Iv::from_slice(&made).ok_or(GcmError::Form("a ciphertext without an IV of 12 or 16 bytes"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iv_before_or_after_the_ciphertext_is_taken_out() {
        let mut iv = Iv::zero(12);
        let out = [[7; 12].as_slice(), &[1; 20]].concat();
        assert_eq!(split_iv(out, 20, true, &mut iv).unwrap(), [1; 20]);
        assert_eq!(iv.bytes(), [7; 12]);
        let out = [[1; 20].as_slice(), &[8; 16]].concat();
        assert_eq!(split_iv(out, 20, false, &mut iv).unwrap(), [1; 20]);
        assert_eq!(iv.bytes(), [8; 16]);
        assert!(split_iv(vec![1; 20], 20, true, &mut iv).is_err());
        assert!(split_iv(vec![1; 10], 20, false, &mut iv).is_err());
    }
}
