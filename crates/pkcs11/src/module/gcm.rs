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

/// Builds the parameters, and runs `act` with the mechanism that holds them.
fn with_mechanism<T>(
    form: GcmParameters,
    iv: &mut [u8],
    aad: &[u8],
    act: impl FnOnce(&mut CK_MECHANISM) -> Result<T, CallError>,
) -> Result<T, CallError> {
    // Lossless: both have the pointer's size.
    let (iv_len, aad_len) = (iv.len() as CK_ULONG, aad.len() as CK_ULONG);
    let iv = if iv.is_empty() { ptr::null_mut() } else { iv.as_mut_ptr() };
    let aad = aad.as_ptr().cast_mut();
    let mechanism = |parameters: *mut std::ffi::c_void, size: usize| CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: parameters,
        ulParameterLen: size as CK_ULONG,
    };
    match form {
        GcmParameters::Standard | GcmParameters::IvBitsZero => {
            let bits = if form == GcmParameters::Standard { iv_len * 8 } else { 0 };
            let mut parameters = CK_GCM_PARAMS {
                pIv: iv,
                ulIvLen: iv_len,
                ulIvBits: bits,
                pAAD: aad,
                ulAADLen: aad_len,
                ulTagBits: TAG_BITS,
            };
            act(&mut mechanism((&raw mut parameters).cast(), size_of::<CK_GCM_PARAMS>()))
        }
        GcmParameters::WithoutIvBits => {
            let mut parameters = WithoutIvBits { iv, iv_len, aad, aad_len, tag_bits: TAG_BITS };
            act(&mut mechanism((&raw mut parameters).cast(), size_of::<WithoutIvBits>()))
        }
    }
}

impl Module {
    /// Encrypts. `iv` is the host's, and becomes the HSM's where that makes it. Gives ciphertext and tag, one after the
    /// other.
    pub fn gcm_encrypt(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        quirks: &Quirks,
        iv: &mut Iv,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, GcmError> {
        let message = quirks.iv == IvSource::Message || quirks.tag == TagPlace::Apart;
        match quirks.iv {
            _ if message => self.encrypt_message_form(session, key, quirks.iv, iv, aad, plaintext),
            IvSource::Host => {
                let out = self.encrypt_plain(session, key, quirks, iv.bytes_mut(), aad, plaintext, 0)?;
                whole(out, plaintext.len() + TAG_LEN)
            }
            IvSource::Parameters => {
                *iv = Iv::zero(12);
                let out = self.encrypt_plain(session, key, quirks, iv.bytes_mut(), aad, plaintext, 0)?;
                whole(out, plaintext.len() + TAG_LEN)
            }
            IvSource::Prepended | IvSource::Appended | IvSource::Message => {
                let out = self.encrypt_plain(session, key, quirks, &mut [], aad, plaintext, 16)?;
                split_iv(out, plaintext.len() + TAG_LEN, quirks.iv == IvSource::Prepended, iv)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what C_EncryptInit and C_Encrypt take")]
    fn encrypt_plain(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        quirks: &Quirks,
        iv: &mut [u8],
        aad: &[u8],
        plaintext: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, CallError> {
        let mut out = vec![0; plaintext.len() + TAG_LEN + room];
        let len = with_mechanism(quirks.parameters, iv, aad, |mechanism| {
            self.encrypt_init(session, mechanism, key)?;
            // The parameters stay alive: some modules read or write them here only.
            self.encrypt(session, plaintext, &mut out)
        })?;
        out.truncate(len);
        Ok(out)
    }

    fn encrypt_message_form(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        source: IvSource,
        iv: &mut Iv,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, GcmError> {
        let mut out = vec![0; plaintext.len() + TAG_LEN];
        let (body, tag) = out.split_at_mut(plaintext.len());
        let generator = match source {
            // The other generators gave kryoptic's sessions a zero IV each.
            IvSource::Message => {
                *iv = Iv::zero(12);
                CKG_GENERATE_RANDOM
            }
            _ => CKG_NO_GENERATE,
        };
        let written =
            self.message_form(session, key, true, generator, iv.bytes_mut(), tag, aad, plaintext, body)?;
        match written == plaintext.len() {
            true => Ok(out),
            false => Err(GcmError::Form("a ciphertext of another length")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the message functions take")]
    fn message_form(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        encrypt: bool,
        generator: CK_GENERATOR_FUNCTION,
        iv: &mut [u8],
        tag: &mut [u8],
        aad: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CallError> {
        let mut parameters = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: iv.len() as CK_ULONG,
            ulIvFixedBits: 0,
            ivGenerator: generator,
            pTag: tag.as_mut_ptr(),
            ulTagBits: TAG_BITS,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut parameters).cast(),
            ulParameterLen: size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG,
        };
        self.message_init(session, encrypt, &mut mechanism, key)?;
        let result = self.message(session, encrypt, &mut parameters, aad, data, out);
        let ended = self.message_final(session, encrypt);
        result.and_then(|len| ended.map(|()| len))
    }

    /// Decrypts `sealed`: ciphertext and tag, one after the other, at least a tag long.
    pub fn gcm_decrypt(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        quirks: &Quirks,
        iv: &Iv,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, GcmError> {
        let mut iv = *iv;
        let body = sealed.len().saturating_sub(TAG_LEN);
        // Room for the tag too: some modules decrypt all of it before they drop the tag.
        let mut out = Zeroizing::new(vec![0; sealed.len()]);
        let len = if quirks.tag == TagPlace::Apart {
            let (ciphertext, tag) = sealed.split_at(body);
            let mut tag = tag.to_vec();
            self.message_form(
                session,
                key,
                false,
                CKG_NO_GENERATE,
                iv.bytes_mut(),
                &mut tag,
                aad,
                ciphertext,
                &mut out,
            )?
        } else {
            with_mechanism(quirks.parameters, iv.bytes_mut(), aad, |mechanism| {
                self.decrypt_init(session, mechanism, key)?;
                self.decrypt(session, sealed, &mut out)
            })?
        };
        if len != body {
            return Err(GcmError::Form("a plaintext of another length"));
        }
        out.truncate(len);
        Ok(out)
    }
}

fn whole(out: Vec<u8>, len: usize) -> Result<Vec<u8>, GcmError> {
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
