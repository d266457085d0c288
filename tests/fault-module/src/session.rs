//! Sessions, slots, and the beginning and end of everything.
#![allow(clippy::missing_safety_doc, reason = "each is called as the PKCS#11 function that it stands before")]

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;

use crate::module::{Module, lock};
use crate::rules::Rules;

pub unsafe fn initialize(module: &Module, _: &Rules, arguments: *mut c_void) -> CK_RV {
    // SAFETY: the caller's argument.
    module.settings.with_environment(|| unsafe { module.real.C_Initialize(arguments) })
}

pub unsafe fn finalize(module: &Module, _: &Rules, reserved: *mut c_void) -> CK_RV {
    // SAFETY: the caller's argument.
    let rv = unsafe { module.real.C_Finalize(reserved) };
    if rv == CKR_OK {
        lock(&module.sessions).clear();
        lock(&module.operations).clear();
        lock(&module.messages).clear();
        module.count_sessions();
    }
    rv
}

pub unsafe fn slot_list(
    module: &Module,
    rules: &Rules,
    present: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    if rules.removed.is_none() || count.is_null() {
        // SAFETY: the caller's arguments.
        return unsafe { module.real.C_GetSlotList(present, slots, count) };
    }
    // SAFETY: the caller's pointer, which isn't null.
    unsafe { *count = 0 };
    CKR_OK
}

pub unsafe fn token_info(
    module: &Module,
    rules: &Rules,
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> CK_RV {
    // SAFETY: the caller's arguments, and the structure is filled in after success.
    unsafe {
        let rv = module.real.C_GetTokenInfo(slot, info);
        if rv == CKR_OK {
            (*info).flags |= rules.token_flags;
        }
        rv
    }
}

pub unsafe fn attribute_value(
    module: &Module,
    rules: &Rules,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller's arguments: a template of so many.
    unsafe {
        if rules.no_check_values && count == 1 && (*template).type_ == CKA_CHECK_VALUE {
            (*template).ulValueLen = CK_UNAVAILABLE_INFORMATION;
            return CKR_ATTRIBUTE_TYPE_INVALID;
        }
        module.real.C_GetAttributeValue(session, object, template, count)
    }
}

pub unsafe fn open(
    module: &Module,
    rules: &Rules,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let open = || module.status.sum(|process| process.sessions.load(Ordering::Relaxed));
    let _one_at_a_time = rules.sessions.map(|_| lock(&module.opening));
    if rules.sessions.is_some_and(|limit| open() >= limit) {
        return CKR_SESSION_COUNT;
    }
    // SAFETY: the caller's arguments, and the handle is there after success.
    unsafe {
        let rv = module.real.C_OpenSession(slot, flags, application, notify, session);
        if rv == CKR_OK {
            lock(&module.sessions).insert(*session, slot);
            module.count_sessions();
        }
        rv
    }
}

pub unsafe fn close(module: &Module, _: &Rules, session: CK_SESSION_HANDLE) -> CK_RV {
    // Before the real one: its handle may be given out again at once.
    let known = lock(&module.sessions).remove(&session);
    lock(&module.operations).remove(&session);
    lock(&module.messages).retain(|(of, _), _| *of != session);
    // SAFETY: the caller's argument.
    let rv = unsafe { module.real.C_CloseSession(session) };
    if let (Some(slot), true) = (known, rv != CKR_OK && rv != CKR_SESSION_HANDLE_INVALID) {
        lock(&module.sessions).insert(session, slot);
    }
    module.count_sessions();
    rv
}

pub unsafe fn close_all(module: &Module, _: &Rules, slot: CK_SLOT_ID) -> CK_RV {
    // SAFETY: the caller's argument.
    let rv = unsafe { module.real.C_CloseAllSessions(slot) };
    if rv == CKR_OK {
        lock(&module.sessions).retain(|_, of| *of != slot);
        module.count_sessions();
    }
    rv
}
