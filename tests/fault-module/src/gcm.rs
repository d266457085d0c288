//! The GCM forms of vendors, on top of a token that does GCM as PKCS#11 2.40 has it.
#![allow(clippy::missing_safety_doc, reason = "each is called as the PKCS#11 function that it stands before")]

use std::slice;

use cryptoki_sys::*;

use crate::iv;
use crate::module::{Module, lock};
use crate::rules::{Form, GcmParams, IvFault, Rules};

/// AWS CloudHSM's mechanism with the IV before the ciphertext.
const CKM_CLOUDHSM_AES_GCM: CK_MECHANISM_TYPE = CKM_VENDOR_DEFINED | CKM_AES_GCM;
/// As CloudHSM's.
const IV_BEFORE: usize = 12;
/// As Luna's.
const IV_AFTER: usize = 16;

/// `CK_GCM_PARAMS` as it was before `ulIvBits`.
#[repr(C)]
struct ShortParams {
    iv: *mut CK_BYTE,
    iv_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    tag_bits: CK_ULONG,
}

/// What a session is in the middle of.
#[derive(Clone)]
pub enum Operation {
    /// The IV goes to this address.
    IvInParams { iv: Vec<u8>, address: usize },
    /// The IV goes before the ciphertext.
    IvBefore { iv: Vec<u8>, tag: usize },
    /// The IV goes after the tag.
    IvAfter { iv: Vec<u8>, tag: usize },
    /// The IV will come before the ciphertext.
    DecryptIvBefore { key: CK_OBJECT_HANDLE, aad: Vec<u8>, tag_bits: CK_ULONG },
}

/// Parameters whose variant was what the rules ask for.
struct Params {
    iv: *mut CK_BYTE,
    iv_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    tag_bits: CK_ULONG,
}

impl Params {
    /// # Safety
    /// The mechanism's parameter is valid for the length that it says.
    unsafe fn read(rules: &Rules, mechanism: &CK_MECHANISM) -> Option<Self> {
        let is_as_long_as =
            |length: usize| !mechanism.pParameter.is_null() && mechanism.ulParameterLen == length as CK_ULONG;
        if rules.gcm_params == Some(GcmParams::Short) {
            if !is_as_long_as(size_of::<ShortParams>()) {
                return None;
            }
            // SAFETY: as long as the structure.
            let short = unsafe { mechanism.pParameter.cast::<ShortParams>().read_unaligned() };
            let ShortParams { iv, iv_length, aad, aad_length, tag_bits } = short;
            return Some(Self { iv, iv_length, aad, aad_length, tag_bits });
        }
        if !is_as_long_as(size_of::<CK_GCM_PARAMS>()) {
            return None;
        }
        // SAFETY: as long as the structure.
        let params = unsafe { mechanism.pParameter.cast::<CK_GCM_PARAMS>().read_unaligned() };
        let right = match rules.gcm_params {
            Some(GcmParams::IvBits) => params.ulIvBits == params.ulIvLen * 8,
            Some(GcmParams::NoIvBits) => params.ulIvBits == 0,
            _ => true,
        };
        right.then_some(Self {
            iv: params.pIv,
            iv_length: params.ulIvLen,
            aad: params.pAAD,
            aad_length: params.ulAADLen,
            tag_bits: params.ulTagBits,
        })
    }

    /// The standard's structure, with another IV if given.
    fn standard(&self, iv: Option<&mut [u8]>) -> CK_GCM_PARAMS {
        let (address, length) = match iv {
            Some(iv) => (iv.as_mut_ptr(), iv.len() as CK_ULONG),
            None => (self.iv, self.iv_length),
        };
        CK_GCM_PARAMS {
            pIv: address,
            ulIvLen: length,
            ulIvBits: length * 8,
            pAAD: self.aad,
            ulAADLen: self.aad_length,
            ulTagBits: self.tag_bits,
        }
    }

    fn gives_iv(&self) -> bool {
        !self.iv.is_null() && self.iv_length > 0
    }

    fn tag(&self) -> usize {
        (self.tag_bits / 8) as usize
    }
}

/// The mechanism for the real module. Its parameter must outlive it.
pub fn mechanism(params: &mut CK_GCM_PARAMS) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: std::ptr::from_mut(params).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    }
}

fn is_gcm(mechanism: CK_MECHANISM_TYPE, rules: &Rules) -> bool {
    mechanism == CKM_AES_GCM || mechanism == CKM_CLOUDHSM_AES_GCM && rules.form == Some(Form::IvBefore)
}

pub unsafe fn encrypt_init(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    wanted: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    lock(&module.operations).remove(&session);
    // SAFETY: the caller's arguments. An IV in parameters is as long as they say.
    unsafe {
        if wanted.is_null() || !is_gcm((*wanted).mechanism, rules) {
            return module.real.C_EncryptInit(session, wanted, key);
        }
        let Some(params) = Params::read(rules, &*wanted) else { return CKR_MECHANISM_PARAM_INVALID };
        let operation = match rules.form {
            None if rules.iv == Some(IvFault::Own) && params.gives_iv() => {
                let iv = iv::make(module, rules, params.iv_length as usize);
                Some(Operation::IvInParams { iv, address: params.iv.expose_provenance() })
            }
            None | Some(Form::Message) => None,
            Some(Form::IvInParams) => {
                let zero = !params.iv.is_null()
                    && slice::from_raw_parts(params.iv, params.iv_length as usize)
                        .iter()
                        .all(|byte| *byte == 0);
                if !zero || params.iv_length == 0 {
                    return CKR_MECHANISM_PARAM_INVALID;
                }
                let iv = iv::make(module, rules, params.iv_length as usize);
                Some(Operation::IvInParams { iv, address: params.iv.expose_provenance() })
            }
            Some(Form::IvBefore) if params.gives_iv() => return CKR_MECHANISM_PARAM_INVALID,
            Some(Form::IvBefore) => {
                Some(Operation::IvBefore { iv: iv::make(module, rules, IV_BEFORE), tag: params.tag() })
            }
            Some(Form::IvAfter) => {
                Some(Operation::IvAfter { iv: iv::make(module, rules, IV_AFTER), tag: params.tag() })
            }
        };
        let mut own = operation.as_ref().map(|operation| match operation {
            Operation::IvInParams { iv, .. }
            | Operation::IvBefore { iv, .. }
            | Operation::IvAfter { iv, .. } => iv.clone(),
            Operation::DecryptIvBefore { .. } => Vec::new(),
        });
        let mut standard = params.standard(own.as_deref_mut());
        let rv = module.real.C_EncryptInit(session, &mut mechanism(&mut standard), key);
        if let (CKR_OK, Some(operation)) = (rv, operation) {
            lock(&module.operations).insert(session, operation);
        }
        rv
    }
}

pub unsafe fn encrypt(
    module: &Module,
    _: &Rules,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    let operation = lock(&module.operations).get(&session).cloned();
    let real = |output, length| {
        // SAFETY: the caller's arguments, or a buffer of ours with its length.
        unsafe { module.real.C_Encrypt(session, data, data_length, output, length) }
    };
    let (iv, tag, before) = match operation {
        Some(Operation::IvBefore { iv, tag }) => (iv, tag, true),
        Some(Operation::IvAfter { iv, tag }) => (iv, tag, false),
        Some(Operation::IvInParams { iv, address }) => {
            let rv = real(output, output_length);
            if !output.is_null() && rv != CKR_BUFFER_TOO_SMALL {
                lock(&module.operations).remove(&session);
            }
            if rv == CKR_OK && !output.is_null() {
                // SAFETY: this form asks for the IV's memory to stay until the operation ends.
                unsafe {
                    let address = std::ptr::with_exposed_provenance_mut::<CK_BYTE>(address);
                    address.copy_from_nonoverlapping(iv.as_ptr(), iv.len());
                }
            }
            return rv;
        }
        _ => return real(output, output_length),
    };
    let mut inner = vec![0; data_length as usize + tag];
    // SAFETY: the caller's pointers: a length, and room for as many bytes as it says.
    unsafe {
        let room = std::mem::replace(&mut *output_length, (inner.len() + iv.len()) as CK_ULONG);
        if output.is_null() {
            return CKR_OK;
        }
        if room < *output_length {
            return CKR_BUFFER_TOO_SMALL;
        }
        lock(&module.operations).remove(&session);
        let mut length = inner.len() as CK_ULONG;
        let rv = real(inner.as_mut_ptr(), &raw mut length);
        if rv == CKR_OK {
            let parts = if before { [&iv[..], &inner[..]] } else { [&inner[..], &iv[..]] };
            let joined = parts.concat();
            output.copy_from_nonoverlapping(joined.as_ptr(), joined.len());
        }
        rv
    }
}

pub unsafe fn decrypt_init(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    wanted: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    lock(&module.operations).remove(&session);
    // SAFETY: the caller's arguments. Authenticated data is as long as the parameters say.
    unsafe {
        if wanted.is_null() || !is_gcm((*wanted).mechanism, rules) {
            return module.real.C_DecryptInit(session, wanted, key);
        }
        let Some(params) = Params::read(rules, &*wanted) else { return CKR_MECHANISM_PARAM_INVALID };
        if rules.form != Some(Form::IvBefore) {
            let mut standard = params.standard(None);
            return module.real.C_DecryptInit(session, &mut mechanism(&mut standard), key);
        }
        if params.gives_iv() {
            return CKR_MECHANISM_PARAM_INVALID;
        }
        let aad = match params.aad.is_null() {
            true => Vec::new(),
            false => slice::from_raw_parts(params.aad, params.aad_length as usize).to_vec(),
        };
        let operation = Operation::DecryptIvBefore { key, aad, tag_bits: params.tag_bits };
        lock(&module.operations).insert(session, operation);
        CKR_OK
    }
}

pub unsafe fn decrypt(
    module: &Module,
    _: &Rules,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    let operation = lock(&module.operations).get(&session).cloned();
    // SAFETY: the caller's arguments: data as long as it says, a length, and room for as many bytes as it says.
    unsafe {
        let Some(Operation::DecryptIvBefore { key, mut aad, tag_bits }) = operation else {
            return module.real.C_Decrypt(session, data, data_length, output, output_length);
        };
        let around = IV_BEFORE + (tag_bits / 8) as usize;
        let Some(plain) = data_length.checked_sub(around as CK_ULONG) else {
            lock(&module.operations).remove(&session);
            return CKR_ENCRYPTED_DATA_LEN_RANGE;
        };
        if output.is_null() || *output_length < plain {
            let too_small = !output.is_null();
            *output_length = plain;
            return if too_small { CKR_BUFFER_TOO_SMALL } else { CKR_OK };
        }
        lock(&module.operations).remove(&session);
        let mut iv = slice::from_raw_parts(data, IV_BEFORE).to_vec();
        let params = Params {
            iv: iv.as_mut_ptr(),
            iv_length: IV_BEFORE as CK_ULONG,
            aad: aad.as_mut_ptr(),
            aad_length: aad.len() as CK_ULONG,
            tag_bits,
        };
        let mut standard = params.standard(None);
        let rv = module.real.C_DecryptInit(session, &mut mechanism(&mut standard), key);
        if rv != CKR_OK {
            return rv;
        }
        let rest = slice::from_raw_parts_mut(data.add(IV_BEFORE), data_length as usize - IV_BEFORE);
        open(module, session, rest, output, output_length)
    }
}

/// C_Decrypt into a buffer that is as long as the plain text; SoftHSM2 wants one as long as the ciphertext with its tag.
///
/// # Safety
/// The output takes as many bytes as the plain text has.
pub unsafe fn open(
    module: &Module,
    session: CK_SESSION_HANDLE,
    sealed: &mut [u8],
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    let mut plain = vec![0_u8; sealed.len()];
    let mut length = plain.len() as CK_ULONG;
    // SAFETY: buffers of ours with their lengths, and the caller's output.
    unsafe {
        let (from, to) = (sealed.as_mut_ptr(), plain.as_mut_ptr());
        let rv = module.real.C_Decrypt(session, from, sealed.len() as CK_ULONG, to, &raw mut length);
        if rv == CKR_OK {
            output.copy_from_nonoverlapping(plain.as_ptr(), length as usize);
            *output_length = length;
        }
        rv
    }
}
