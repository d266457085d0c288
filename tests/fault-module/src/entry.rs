//! The symbols by which the module is entered, and its lists of functions.
#![allow(non_snake_case, clippy::too_many_arguments, reason = "the names and arguments are those of PKCS#11")]
#![allow(clippy::missing_safety_doc, reason = "each is called as PKCS#11 says")]

use std::ffi::{CStr, c_void};
use std::ptr;

use cryptoki_sys::*;

use crate::fault::{Output, Subject, pass};
use crate::functions::{Function, functions};
use crate::module::Module;
use crate::rules::Form;
use crate::{gcm, message, session};

macro_rules! subject {
    (library) => {
        Subject::Library
    };
    (slot) => {
        Subject::Slot
    };
    (session) => {
        Subject::Session
    };
    (ending) => {
        Subject::Session
    };
}

macro_rules! output {
    (ending $a:ident $b:ident $c:ident $bytes:ident $length:ident) => {
        Some(Output { data_length: $c, bytes: $bytes, length: $length })
    };
    ($kind:ident $($a:ident)*) => {
        None
    };
}

/// Lets the call write elsewhere.
macro_rules! redirect {
    ($output:ident ending $a:ident $b:ident $c:ident $bytes:ident $length:ident) => {
        let ($bytes, $length) = $output.map_or(($bytes, $length), |to: Output| (to.bytes, to.length));
    };
    ($output:ident $kind:ident $($a:ident)*) => {};
}

macro_rules! call {
    ($module:ident $rules:ident $name:ident($($a:ident),*)) => {
        $module.real.$name($($a),*)
    };
    ($module:ident $rules:ident $name:ident($($a:ident),*) $special:path) => {
        $special($module, $rules, $($a),*)
    };
}

macro_rules! define_them {
    (v2 { $($kind2:ident $name2:ident($($a2:ident: $t2:ty),*) $(=> $special2:path)?;)* } v3 { $($kind3:ident $name3:ident($($a3:ident: $t3:ty),*) $(=> $special3:path)?;)* }) => {
        mod through {
            use super::*;
            define_them! { one $($kind2 $name2($($a2: $t2),*) $(=> $special2)?;)* $($kind3 $name3($($a3: $t3),*) $(=> $special3)?;)* }
        }

        static LIST_2_40: List<CK_FUNCTION_LIST> = List(CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_GetFunctionList: Some(C_GetFunctionList),
            $($name2: Some(through::$name2),)*
        });

        static LIST_3_0: List<CK_FUNCTION_LIST_3_0> = List(CK_FUNCTION_LIST_3_0 {
            version: CK_VERSION { major: 3, minor: 0 },
            C_GetFunctionList: Some(C_GetFunctionList),
            C_GetInterfaceList: Some(C_GetInterfaceList),
            C_GetInterface: Some(C_GetInterface),
            $($name2: Some(through::$name2),)*
            $($name3: Some(through::$name3),)*
        });
    };
    (one $($kind:ident $name:ident($($a:ident: $t:ty),*) $(=> $special:path)?;)*) => {
        $(
            pub unsafe extern "C" fn $name($($a: $t),*) -> CK_RV {
                pass(Function::$name, subject!($kind), output!($kind $($a)*), |module, _rules, _to| {
                    redirect!(_to $kind $($a)*);
                    // SAFETY: the arguments are the caller's, but for where to write, which is as good.
                    unsafe { call!(module _rules $name($($a),*) $($special)?) }
                })
            }
        )*
    };
}
functions!(define_them);

/// A list that never changes, though PKCS#11's types say that it may.
struct List<T>(T);
// SAFETY: function pointers and plain numbers, never written.
unsafe impl<T> Sync for List<T> {}

struct Interfaces([CK_INTERFACE; 2]);
// SAFETY: pointers to statics, never written.
unsafe impl Sync for Interfaces {}

static NAME: &CStr = c"PKCS 11";

/// The newest first, as it is the default.
static INTERFACES: Interfaces = Interfaces([
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: (&raw const LIST_3_0.0).cast_mut().cast(),
        flags: 0,
    },
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: (&raw const LIST_2_40.0).cast_mut().cast(),
        flags: 0,
    },
]);

fn offered(module: &Module) -> &'static [CK_INTERFACE] {
    let has_3_0 = module.real.has_3_0() || module.rules().form == Some(Form::Message);
    if has_3_0 { &INTERFACES.0 } else { &INTERFACES.0[1..] }
}

/// The functions of 2.40.
// SAFETY: modules are opened by dlopen; nothing is linked to this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if Module::get().is_none() {
        return CKR_GENERAL_ERROR;
    }
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: the caller's pointer, which isn't null.
    unsafe { *list = (&raw const LIST_2_40.0).cast_mut() };
    CKR_OK
}

/// All versions.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(list: *mut CK_INTERFACE, count: *mut CK_ULONG) -> CK_RV {
    let Some(module) = Module::get() else { return CKR_GENERAL_ERROR };
    if count.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let offered = offered(module);
    // SAFETY: the caller's pointers: a count, and room for as many interfaces as it says.
    unsafe {
        let room = std::mem::replace(&mut *count, offered.len() as CK_ULONG);
        if list.is_null() {
            return CKR_OK;
        }
        if room < offered.len() as CK_ULONG {
            return CKR_BUFFER_TOO_SMALL;
        }
        ptr::copy_nonoverlapping(offered.as_ptr(), list, offered.len());
    }
    CKR_OK
}

/// One version; the newest if the caller doesn't care.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    let Some(module) = Module::get() else { return CKR_GENERAL_ERROR };
    if interface.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: the caller's pointers: a C string, a version, a place for the answer. A list of functions begins with its version.
    unsafe {
        if !name.is_null() && CStr::from_ptr(name.cast()) != NAME || flags != 0 {
            return CKR_FUNCTION_FAILED;
        }
        let wanted = |found: &&CK_INTERFACE| {
            let found = *found.pFunctionList.cast::<CK_VERSION>();
            version.is_null() || ((*version).major, (*version).minor) == (found.major, found.minor)
        };
        let Some(found) = offered(module).iter().find(wanted) else { return CKR_FUNCTION_FAILED };
        *interface = ptr::from_ref(found).cast_mut();
    }
    CKR_OK
}
