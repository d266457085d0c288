//! PKCS#11 functions one by one: buffers, lengths and handles; nothing of what they mean.

use super::{Module, ObjectHandle, SessionHandle, SlotId, missing};
use crate::rv::CallError;
use cryptoki_sys::*;
use holdfast_secret::Secret;
use std::ptr;

/// Calls a function of the module's list, inside its lock if it has one.
macro_rules! call {
    ($module:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $module.list.$function.ok_or(missing(stringify!($function)))?;
        let _inside = $module.enter();
        // SAFETY: every pointer comes from a live buffer whose length is passed beside it.
        let code = unsafe { function($($argument),*) };
        CallError::check(stringify!($function), code)
    }};
}

/// Calls a function of PKCS#11 3.0.
macro_rules! call3 {
    ($module:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $module.list3.and_then(|list| list.$function).ok_or(missing(stringify!($function)))?;
        let _inside = $module.enter();
        // SAFETY: every pointer comes from a live buffer whose length is passed beside it.
        let code = unsafe { function($($argument),*) };
        CallError::check(stringify!($function), code)
    }};
}

/// A length as PKCS#11 has it. Lossless: both have the pointer's size.
fn ulong(len: usize) -> CK_ULONG {
    len as CK_ULONG
}

impl Module {
    /// The slots that hold a token.
    pub fn slots(&self) -> Result<Vec<SlotId>, CallError> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(CK_TRUE, ptr::null_mut(), &mut count))?;
        loop {
            // A token may have come in between: a few more places.
            let mut slots = vec![0; count as usize + 4];
            count = ulong(slots.len());
            match call!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &mut count)) {
                Err(error) if error.code == CKR_BUFFER_TOO_SMALL => continue,
                result => result?,
            }
            slots.truncate(count as usize);
            return Ok(slots);
        }
    }

    pub(super) fn raw_token_info(&self, slot: SlotId) -> Result<CK_TOKEN_INFO, CallError> {
        let mut info = CK_TOKEN_INFO::default();
        call!(self, C_GetTokenInfo(slot, &mut info))?;
        Ok(info)
    }

    pub(super) fn raw_mechanism_info(
        &self,
        slot: SlotId,
        mechanism: CK_MECHANISM_TYPE,
    ) -> Result<CK_MECHANISM_INFO, CallError> {
        let mut info = CK_MECHANISM_INFO::default();
        call!(self, C_GetMechanismInfo(slot, mechanism, &mut info))?;
        Ok(info)
    }

    /// The mechanisms of a token, by number.
    pub fn mechanisms(&self, slot: SlotId) -> Result<Vec<CK_MECHANISM_TYPE>, CallError> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetMechanismList(slot, ptr::null_mut(), &mut count))?;
        let mut mechanisms = vec![0; count as usize];
        call!(self, C_GetMechanismList(slot, mechanisms.as_mut_ptr(), &mut count))?;
        mechanisms.truncate(count as usize);
        Ok(mechanisms)
    }

    /// Opens a session.
    pub fn open_session(&self, slot: SlotId, read_write: bool) -> Result<SessionHandle, CallError> {
        let flags = CKF_SERIAL_SESSION | if read_write { CKF_RW_SESSION } else { 0 };
        let mut session = 0;
        call!(self, C_OpenSession(slot, flags, ptr::null_mut(), None, &mut session))?;
        Ok(session)
    }

    /// Whether the module still knows a session, and its device has no error to tell.
    pub fn session_works(&self, session: SessionHandle) -> Result<bool, CallError> {
        let mut info = CK_SESSION_INFO::default();
        call!(self, C_GetSessionInfo(session, &mut info))?;
        Ok(info.ulDeviceError == 0)
    }

    /// Whether the user is logged in, as a session sees it.
    pub fn is_logged_in(&self, session: SessionHandle) -> Result<bool, CallError> {
        let mut info = CK_SESSION_INFO::default();
        call!(self, C_GetSessionInfo(session, &mut info))?;
        Ok(matches!(info.state, CKS_RO_USER_FUNCTIONS | CKS_RW_USER_FUNCTIONS))
    }

    /// Closes a session.
    pub fn close_session(&self, session: SessionHandle) -> Result<(), CallError> {
        call!(self, C_CloseSession(session))
    }

    /// Logs the user in, for all sessions of this process with the token.
    pub fn login(&self, session: SessionHandle, pin: &Secret) -> Result<(), CallError> {
        let pin = pin.expose();
        call!(self, C_Login(session, CKU_USER, pin.as_ptr().cast_mut(), ulong(pin.len())))
    }

    pub(super) fn find(
        &self,
        session: SessionHandle,
        template: &mut [CK_ATTRIBUTE],
    ) -> Result<Vec<ObjectHandle>, CallError> {
        call!(self, C_FindObjectsInit(session, template.as_mut_ptr(), ulong(template.len())))?;
        let mut found = Vec::new();
        let result = loop {
            let mut some = [0; 64];
            let mut count: CK_ULONG = 0;
            if let Err(error) = call!(self, C_FindObjects(session, some.as_mut_ptr(), 64, &mut count)) {
                break Err(error);
            }
            found.extend_from_slice(&some[..(count as usize).min(64)]);
            if count == 0 {
                break Ok(found);
            }
        };
        let ended = call!(self, C_FindObjectsFinal(session));
        result.and_then(|found| ended.map(|()| found))
    }

    pub(super) fn attributes(
        &self,
        session: SessionHandle,
        object: ObjectHandle,
        template: &mut [CK_ATTRIBUTE],
    ) -> Result<(), CallError> {
        call!(self, C_GetAttributeValue(session, object, template.as_mut_ptr(), ulong(template.len())))
    }

    pub(super) fn generate_key(
        &self,
        session: SessionHandle,
        mechanism: CK_MECHANISM_TYPE,
        template: &mut [CK_ATTRIBUTE],
    ) -> Result<ObjectHandle, CallError> {
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        let mut key = 0;
        call!(
            self,
            C_GenerateKey(session, &mut mechanism, template.as_mut_ptr(), ulong(template.len()), &mut key)
        )?;
        Ok(key)
    }

    /// Destroys an object.
    pub fn destroy_object(&self, session: SessionHandle, object: ObjectHandle) -> Result<(), CallError> {
        call!(self, C_DestroyObject(session, object))
    }

    /// `C_EncryptInit` or `C_DecryptInit`.
    pub(super) fn init(
        &self,
        session: SessionHandle,
        encrypt: bool,
        mechanism: &mut CK_MECHANISM,
        key: ObjectHandle,
    ) -> Result<(), CallError> {
        match encrypt {
            true => call!(self, C_EncryptInit(session, mechanism, key)),
            false => call!(self, C_DecryptInit(session, mechanism, key)),
        }
    }

    /// `C_Encrypt` or `C_Decrypt` into `out`, whose length is the room there is; gives what was written.
    pub(super) fn work(
        &self,
        session: SessionHandle,
        encrypt: bool,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CallError> {
        let mut len = ulong(out.len());
        let (data_at, data_len, out_at) = (data.as_ptr().cast_mut(), ulong(data.len()), out.as_mut_ptr());
        match encrypt {
            true => call!(self, C_Encrypt(session, data_at, data_len, out_at, &mut len)),
            false => call!(self, C_Decrypt(session, data_at, data_len, out_at, &mut len)),
        }?;
        Ok((len as usize).min(out.len()))
    }

    pub(super) fn message_init(
        &self,
        session: SessionHandle,
        encrypt: bool,
        mechanism: &mut CK_MECHANISM,
        key: ObjectHandle,
    ) -> Result<(), CallError> {
        match encrypt {
            true => call3!(self, C_MessageEncryptInit(session, mechanism, key)),
            false => call3!(self, C_MessageDecryptInit(session, mechanism, key)),
        }
    }

    /// `C_EncryptMessage` or `C_DecryptMessage`.
    pub(super) fn message(
        &self,
        session: SessionHandle,
        encrypt: bool,
        parameters: &mut CK_GCM_MESSAGE_PARAMS,
        aad: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CallError> {
        let mut len = ulong(out.len());
        let size = ulong(size_of::<CK_GCM_MESSAGE_PARAMS>());
        let parameters = (&raw mut *parameters).cast();
        let (aad_at, data_at) = (aad.as_ptr().cast_mut(), data.as_ptr().cast_mut());
        let (aad_len, data_len, out) = (ulong(aad.len()), ulong(data.len()), out.as_mut_ptr());
        match encrypt {
            true => call3!(
                self,
                C_EncryptMessage(
                    session, parameters, size, aad_at, aad_len, data_at, data_len, out, &mut len
                )
            ),
            false => call3!(
                self,
                C_DecryptMessage(
                    session, parameters, size, aad_at, aad_len, data_at, data_len, out, &mut len
                )
            ),
        }?;
        Ok(len as usize)
    }

    pub(super) fn message_final(&self, session: SessionHandle, encrypt: bool) -> Result<(), CallError> {
        match encrypt {
            true => call3!(self, C_MessageEncryptFinal(session)),
            false => call3!(self, C_MessageDecryptFinal(session)),
        }
    }
}
