//! The module that calls are passed on to.

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use cryptoki_sys::*;

use crate::functions::functions;

/// The real module; it stays loaded.
pub struct Real {
    _library: libloading::Library,
    v2: *const CK_FUNCTION_LIST,
    v3: Option<*const CK_FUNCTION_LIST_3_0>,
}

// SAFETY: the lists are constant, and calling the functions from several threads is what PKCS#11 is for.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

impl Real {
    /// Opens the library and asks for its function lists.
    pub fn load(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        // SAFETY: a PKCS#11 module, whose initialisers do what those of any library do.
        let library = unsafe { libloading::Library::new(path) }.map_err(|error| failed(&error))?;
        let mut v2: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the type is that which the standard gives the symbol.
        let rv = unsafe {
            library
                .get::<unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV>(b"C_GetFunctionList\0")
                .map(|list| list(&raw mut v2))
        }
        .map_err(|error| failed(&error))?;
        if rv != CKR_OK || v2.is_null() {
            return Err(failed(&format!("C_GetFunctionList returned 0x{rv:x}")));
        }
        let v3 = Self::newer(&library);
        Ok(Self { _library: library, v2, v3 })
    }

    fn newer(library: &libloading::Library) -> Option<*const CK_FUNCTION_LIST_3_0> {
        type GetInterface = unsafe extern "C" fn(
            *mut CK_UTF8CHAR,
            *mut CK_VERSION,
            *mut *mut CK_INTERFACE,
            CK_FLAGS,
        ) -> CK_RV;
        let mut name = *b"PKCS 11\0";
        let mut version = CK_VERSION { major: 3, minor: 0 };
        let mut interface: *mut CK_INTERFACE = ptr::null_mut();
        // SAFETY: the type is that which the standard gives the symbol; what it returns is constant and lives as long as the library.
        unsafe {
            let get = library.get::<GetInterface>(b"C_GetInterface\0").ok()?;
            let rv = get(name.as_mut_ptr(), &raw mut version, &raw mut interface, 0);
            if rv != CKR_OK || interface.is_null() {
                return None;
            }
            let list: *const CK_FUNCTION_LIST_3_0 = (*interface).pFunctionList.cast();
            (!list.is_null()).then_some(list)
        }
    }

    /// Whether it has the functions of 3.0.
    pub fn has_3_0(&self) -> bool {
        self.v3.is_some()
    }
}

macro_rules! call_them {
    (v2 { $($kind2:ident $name2:ident($($a2:ident: $t2:ty),*) $(=> $special2:path)?;)* } v3 { $($kind3:ident $name3:ident($($a3:ident: $t3:ty),*) $(=> $special3:path)?;)* }) => {
        /// The real functions. What a module lacks is CKR_FUNCTION_NOT_SUPPORTED.
        ///
        /// # Safety
        /// The arguments are what PKCS#11 asks of the caller of each.
        #[allow(non_snake_case, clippy::too_many_arguments, clippy::missing_safety_doc, reason = "the names and arguments are those of PKCS#11")]
        impl Real {
            $(
                pub unsafe fn $name2(&self, $($a2: $t2),*) -> CK_RV {
                    // SAFETY: the list is the module's, the arguments are the caller's.
                    unsafe { (*self.v2).$name2.map_or(CKR_FUNCTION_NOT_SUPPORTED, |call| call($($a2),*)) }
                }
            )*
            $(
                pub unsafe fn $name3(&self, $($a3: $t3),*) -> CK_RV {
                    let Some(list) = self.v3 else { return CKR_FUNCTION_NOT_SUPPORTED };
                    // SAFETY: the list is the module's, the arguments are the caller's.
                    unsafe { (*list).$name3.map_or(CKR_FUNCTION_NOT_SUPPORTED, |call| call($($a3),*)) }
                }
            )*
        }
    };
}
functions!(call_them);
