//! GCM by the message functions of PKCS#11 3.0: with bad IVs on command, and on top of 2.40.
#![allow(clippy::missing_safety_doc, reason = "each is called as the PKCS#11 function that it stands before")]
#![allow(clippy::too_many_arguments, reason = "as many as PKCS#11's")]

use std::ffi::c_void;
use std::slice;

use cryptoki_sys::*;

use crate::gcm::{mechanism, open};
use crate::iv;
use crate::module::{Module, lock};
use crate::rules::{Form, Rules};

/// Which of a session's two message operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Encrypt,
    Decrypt,
}

fn emulated(rules: &Rules) -> bool {
    rules.form == Some(Form::Message)
}

unsafe fn begin(
    module: &Module,
    session: CK_SESSION_HANDLE,
    wanted: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    direction: Direction,
) -> CK_RV {
    // SAFETY: the caller's pointer.
    if wanted.is_null() || unsafe { (*wanted).mechanism } != CKM_AES_GCM {
        return CKR_MECHANISM_INVALID;
    }
    match lock(&module.messages).insert((session, direction), key) {
        None => CKR_OK,
        Some(_) => CKR_OPERATION_ACTIVE,
    }
}

fn end(module: &Module, session: CK_SESSION_HANDLE, direction: Direction) -> CK_RV {
    match lock(&module.messages).remove(&(session, direction)) {
        Some(_) => CKR_OK,
        None => CKR_OPERATION_NOT_INITIALIZED,
    }
}

pub unsafe fn encrypt_init(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    wanted: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's arguments.
    unsafe {
        match emulated(rules) {
            true => begin(module, session, wanted, key, Direction::Encrypt),
            false => module.real.C_MessageEncryptInit(session, wanted, key),
        }
    }
}

pub unsafe fn encrypt_final(module: &Module, rules: &Rules, session: CK_SESSION_HANDLE) -> CK_RV {
    match emulated(rules) {
        true => end(module, session, Direction::Encrypt),
        // SAFETY: the caller's argument.
        false => unsafe { module.real.C_MessageEncryptFinal(session) },
    }
}

pub unsafe fn decrypt_init(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    wanted: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's arguments.
    unsafe {
        match emulated(rules) {
            true => begin(module, session, wanted, key, Direction::Decrypt),
            false => module.real.C_MessageDecryptInit(session, wanted, key),
        }
    }
}

pub unsafe fn decrypt_final(module: &Module, rules: &Rules, session: CK_SESSION_HANDLE) -> CK_RV {
    match emulated(rules) {
        true => end(module, session, Direction::Decrypt),
        // SAFETY: the caller's argument.
        false => unsafe { module.real.C_MessageDecryptFinal(session) },
    }
}

/// The parameters, if they are those of GCM.
unsafe fn gcm<'a>(parameter: *mut c_void, length: CK_ULONG) -> Option<&'a mut CK_GCM_MESSAGE_PARAMS> {
    let long = length == size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    // SAFETY: the caller's pointer, as long as the structure.
    let params: Option<&mut CK_GCM_MESSAGE_PARAMS> =
        unsafe { parameter.cast::<CK_GCM_MESSAGE_PARAMS>().as_mut() };
    params.filter(|params| long && !params.pIv.is_null() && !params.pTag.is_null())
}

pub unsafe fn encrypt(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    parameter: *mut c_void,
    parameter_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller's arguments: each buffer is as long as it says.
    unsafe {
        let real = |parameter| {
            module.real.C_EncryptMessage(
                session,
                parameter,
                parameter_length,
                aad,
                aad_length,
                data,
                data_length,
                output,
                output_length,
            )
        };
        let Some(params) = gcm(parameter, parameter_length) else {
            return if emulated(rules) { CKR_MECHANISM_PARAM_INVALID } else { real(parameter) };
        };
        if emulated(rules) {
            let Some(key) = lock(&module.messages).get(&(session, Direction::Encrypt)).copied() else {
                return CKR_OPERATION_NOT_INITIALIZED;
            };
            let room = std::mem::replace(&mut *output_length, data_length);
            if output.is_null() || room < data_length {
                return if output.is_null() { CKR_OK } else { CKR_BUFFER_TOO_SMALL };
            }
            let mut standard = standard(params, aad, aad_length);
            return encrypt_by_2_40(
                module,
                rules,
                session,
                key,
                params,
                &mut standard,
                data,
                data_length,
                output,
            );
        }
        let iv = slice::from_raw_parts_mut(params.pIv, params.ulIvLen as usize);
        if rules.iv.is_some() && params.ivGenerator != CKG_NO_GENERATE && !output.is_null() {
            iv.copy_from_slice(&iv::make(module, rules, iv.len()));
            let mut fixed = *params;
            fixed.ivGenerator = CKG_NO_GENERATE;
            return real((&raw mut fixed).cast());
        }
        let rv = real(parameter);
        if rv == CKR_OK && !output.is_null() {
            iv::remember(module, iv);
        }
        rv
    }
}

/// The output takes as many bytes as the data has.
unsafe fn encrypt_by_2_40(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    params: &mut CK_GCM_MESSAGE_PARAMS,
    standard: &mut CK_GCM_PARAMS,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    output: *mut CK_BYTE,
) -> CK_RV {
    // SAFETY: the caller's arguments: each buffer is as long as it says.
    unsafe {
        let iv = slice::from_raw_parts_mut(params.pIv, params.ulIvLen as usize);
        match params.ivGenerator {
            CKG_NO_GENERATE => {}
            CKG_GENERATE_RANDOM => iv.copy_from_slice(&iv::make(module, rules, iv.len())),
            _ => return CKR_MECHANISM_PARAM_INVALID,
        }
        let rv = module.real.C_EncryptInit(session, &mut mechanism(standard), key);
        if rv != CKR_OK {
            return rv;
        }
        let tag = (params.ulTagBits / 8) as usize;
        let mut sealed = vec![0; data_length as usize + tag];
        let mut length = sealed.len() as CK_ULONG;
        let rv = module.real.C_Encrypt(session, data, data_length, sealed.as_mut_ptr(), &raw mut length);
        if rv == CKR_OK {
            output.copy_from_nonoverlapping(sealed.as_ptr(), data_length as usize);
            params.pTag.copy_from_nonoverlapping(sealed.as_ptr().add(data_length as usize), tag);
        }
        rv
    }
}

pub unsafe fn decrypt(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    parameter: *mut c_void,
    parameter_length: CK_ULONG,
    aad: *mut CK_BYTE,
    aad_length: CK_ULONG,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller's arguments: each buffer is as long as it says.
    unsafe {
        if !emulated(rules) {
            return module.real.C_DecryptMessage(
                session,
                parameter,
                parameter_length,
                aad,
                aad_length,
                data,
                data_length,
                output,
                output_length,
            );
        }
        let Some(params) = gcm(parameter, parameter_length) else { return CKR_MECHANISM_PARAM_INVALID };
        let Some(key) = lock(&module.messages).get(&(session, Direction::Decrypt)).copied() else {
            return CKR_OPERATION_NOT_INITIALIZED;
        };
        if output.is_null() || *output_length < data_length {
            *output_length = data_length;
            return if output.is_null() { CKR_OK } else { CKR_BUFFER_TOO_SMALL };
        }
        let part = |bytes: *mut CK_BYTE, length: usize| match bytes.is_null() {
            true => &[][..],
            false => slice::from_raw_parts(bytes, length),
        };
        let tag = part(params.pTag, (params.ulTagBits / 8) as usize);
        let mut sealed = [part(data, data_length as usize), tag].concat();
        let mut standard = standard(params, aad, aad_length);
        match module.real.C_DecryptInit(session, &mut mechanism(&mut standard), key) {
            CKR_OK => open(module, session, &mut sealed, output, output_length),
            rv => rv,
        }
    }
}

/// The parameters of 2.40 that say the same.
fn standard(params: &CK_GCM_MESSAGE_PARAMS, aad: *mut CK_BYTE, aad_length: CK_ULONG) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS {
        pIv: params.pIv,
        ulIvLen: params.ulIvLen,
        ulIvBits: params.ulIvLen * 8,
        pAAD: aad,
        ulAADLen: aad_length,
        ulTagBits: params.ulTagBits,
    }
}
