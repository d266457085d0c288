//! A vendor's module: loaded, initialised once a process, and called.

use crate::rv::CallError;
use cryptoki_sys::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod calls;
mod gcm;
mod info;

pub use gcm::{GcmError, GcmKey, TAG_LEN};
pub use info::{KeyAttributes, KeyTemplate, MechanismInfo, TokenInfo};

/// A session's handle.
pub type SessionHandle = CK_SESSION_HANDLE;
/// An object's handle.
pub type ObjectHandle = CK_OBJECT_HANDLE;
/// A slot's id.
pub type SlotId = CK_SLOT_ID;

/// Why a module can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The dynamic loader refused it.
    #[error(
        "the PKCS#11 module {path} can't be loaded: {reason}; is the path right, and is it for this architecture?"
    )]
    Load {
        /// The module's path.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// It doesn't have the functions of PKCS#11.
    #[error("{path} is not a PKCS#11 module: {reason}")]
    Foreign {
        /// The module's path.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// `C_Initialize` failed.
    #[error("the PKCS#11 module {path} doesn't start: {source}")]
    Initialize {
        /// The module's path.
        path: PathBuf,
        /// What it returned.
        source: CallError,
    },
    /// Two HSMs use one module and say different things about it.
    #[error(
        "{path} is configured as safe for threads for one HSM and not for another; say the same for both"
    )]
    Threads {
        /// The module's path.
        path: PathBuf,
    },
}

/// A loaded and initialised module. It stays loaded until the process ends: code of vendors doesn't expect to be
/// unloaded, and a hung call may still be inside.
pub struct Module {
    path: PathBuf,
    list: &'static CK_FUNCTION_LIST,
    list3: Option<&'static CK_FUNCTION_LIST_3_0>,
    /// For modules that aren't safe for threads: one call at a time.
    lock: Option<Mutex<()>>,
    /// How many tokens of it are used. Held while it is initialised anew, so that none comes meanwhile.
    users: Mutex<usize>,
}

/// A module's place in the list; taken while it loads, which may hang and then holds up no other module.
type Shelf = Arc<Mutex<Option<Arc<Module>>>>;

static MODULES: Mutex<BTreeMap<PathBuf, Shelf>> = Mutex::new(BTreeMap::new());

impl Module {
    /// The module at `path`, loaded and initialised at the first call. `thread_safe` false lets one call in at a time.
    pub fn load(path: &Path, thread_safe: bool) -> Result<Arc<Module>, ModuleError> {
        let shelf = {
            let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(modules.entry(path.to_owned()).or_default())
        };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = &*shelf {
            return match module.lock.is_none() == thread_safe {
                true => Ok(Arc::clone(module)),
                false => Err(ModuleError::Threads { path: path.to_owned() }),
            };
        }
        let module = Arc::new(open(path, thread_safe)?);
        module.initialize().map_err(|source| ModuleError::Initialize { path: path.to_owned(), source })?;
        *shelf = Some(Arc::clone(&module));
        Ok(module)
    }

    /// The module's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One more token of the module is used from now on.
    pub(crate) fn enlist(&self) {
        *self.users() += 1;
    }

    /// One token fewer.
    pub(crate) fn leave(&self) {
        *self.users() -= 1;
    }

    fn users(&self) -> MutexGuard<'_, usize> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has the message functions of PKCS#11 3.0.
    pub fn has_message_functions(&self) -> bool {
        self.list3.is_some_and(|list| list.C_MessageEncryptInit.is_some() && list.C_EncryptMessage.is_some())
    }

    /// `C_Initialize`; an already initialised module is taken as it is.
    fn initialize(&self) -> Result<(), CallError> {
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: if self.lock.is_none() { CKF_OS_LOCKING_OK } else { 0 },
            pReserved: ptr::null_mut(),
        };
        let initialize = self.list.C_Initialize.ok_or(missing("C_Initialize"))?;
        // SAFETY: the arguments live through the call, and modules copy what they keep.
        let code = unsafe { initialize((&raw mut arguments).cast()) };
        match code {
            CKR_CRYPTOKI_ALREADY_INITIALIZED => Ok(()),
            code => CallError::check("C_Initialize", code),
        }
    }

    /// `C_Finalize` and `C_Initialize`, so that the module looks for tokens anew, where the caller's is the only token that
    /// is used; false where it isn't. All sessions end; `before` comes first.
    ///
    /// No call with the caller's token may be inside the module, and none may come until this returns: the caller sees to
    /// both.
    pub(crate) fn restart_if_alone(&self, before: impl FnOnce()) -> Result<bool, CallError> {
        let users = self.users();
        if *users != 1 {
            return Ok(false);
        }
        before();
        if let Some(finalize) = self.list.C_Finalize {
            let _inside = self.enter();
            // SAFETY: by the contract above; the argument is reserved and must be null.
            match unsafe { finalize(ptr::null_mut()) } {
                CKR_CRYPTOKI_NOT_INITIALIZED => {}
                code => CallError::check("C_Finalize", code)?,
            }
        }
        self.initialize().map(|()| true)
    }

    fn enter(&self) -> Option<MutexGuard<'_, ()>> {
        self.lock.as_ref().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn missing(function: &'static str) -> CallError {
    CallError { function, code: CKR_FUNCTION_NOT_SUPPORTED }
}

fn open(path: &Path, thread_safe: bool) -> Result<Module, ModuleError> {
    let foreign = |reason| ModuleError::Foreign { path: path.to_owned(), reason };
    // SAFETY: loading runs the module's initialisers: the operator named it, and that is what running it means.
    let library = unsafe { Pkcs11::new(path) }
        .map_err(|error| ModuleError::Load { path: path.to_owned(), reason: error.to_string() })?;
    // Never unloaded, see `Module`.
    let library: &'static Pkcs11 = Box::leak(Box::new(library));
    let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
    let get = library.C_GetFunctionList.as_ref().map_err(|_| foreign("it has no C_GetFunctionList"))?;
    // SAFETY: writes one pointer.
    let code = unsafe { get(&mut list) };
    // SAFETY: a module returns a static list, or null.
    let list = unsafe { list.cast_const().as_ref() };
    let list = list.filter(|_| code == CKR_OK).ok_or(foreign("C_GetFunctionList gives no functions"))?;
    let lock = if thread_safe { None } else { Some(Mutex::new(())) };
    Ok(Module { path: path.to_owned(), list, list3: interface_3(library), lock, users: Mutex::new(0) })
}

/// The functions of 3.0, if the module has them: 3.2 begins with the same.
fn interface_3(library: &'static Pkcs11) -> Option<&'static CK_FUNCTION_LIST_3_0> {
    let get = library.C_GetInterface.as_ref().ok()?;
    let mut interface: *mut CK_INTERFACE = ptr::null_mut();
    // SAFETY: null asks for the default interface; one pointer is written.
    if unsafe { get(ptr::null_mut(), ptr::null_mut(), &mut interface, 0) } != CKR_OK {
        return None;
    }
    // SAFETY: a module returns a static interface, or null.
    let list = unsafe { interface.as_ref() }?.pFunctionList;
    // SAFETY: every function list begins with its version.
    let version = unsafe { list.cast::<CK_VERSION>().as_ref() }?;
    if version.major < 3 {
        return None;
    }
    // SAFETY: its version says that it is as long as a list of 3.0 at least.
    unsafe { list.cast::<CK_FUNCTION_LIST_3_0>().cast_const().as_ref() }
}
