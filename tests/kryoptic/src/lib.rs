//! kryoptic behind the three symbols by which a PKCS#11 module is entered. The package `kryoptic` has the same ones, but a package that
//! is only a cdylib can't be depended on, and what is installed by `cargo install` is programs.
#![allow(non_snake_case, reason = "the names are those of PKCS#11")]

use kryoptic_lib::fns::general;
use kryoptic_lib::pkcs11::{
    CK_FLAGS, CK_FUNCTION_LIST_PTR_PTR, CK_INTERFACE_PTR, CK_INTERFACE_PTR_PTR, CK_RV, CK_ULONG_PTR,
    CK_UTF8CHAR_PTR, CK_VERSION_PTR,
};

/// The functions of PKCS#11 2.40.
// SAFETY: no other library of the process exports this name for the linker to confuse; modules are opened by dlopen.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    general::fn_get_function_list(list)
}

/// The functions of one version, 3.0 and later.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterface(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    interface: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> CK_RV {
    general::fn_get_interface(name, version, interface, flags)
}

/// Every version that it has.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetInterfaceList(interfaces: CK_INTERFACE_PTR, count: CK_ULONG_PTR) -> CK_RV {
    general::fn_get_interface_list(interfaces, count)
}
