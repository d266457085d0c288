//! What commands do to a call.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;

use crate::functions::Function;
use crate::module::{LOOK, Module};
use crate::rules::{Action, Crash, Rules};

/// What a call's first argument names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Library,
    Slot,
    Session,
}

/// Where a call that ends an operation writes to.
#[derive(Clone, Copy)]
pub struct Output {
    pub bytes: *mut CK_BYTE,
    pub length: *mut CK_ULONG,
}

/// Passes a call on, unless commanded otherwise.
///
/// # Safety
/// `output`, if given, is what the call was given.
pub unsafe fn pass(
    function: Function,
    subject: Subject,
    output: Option<Output>,
    call: impl Fn(&Module, &Rules) -> CK_RV,
) -> CK_RV {
    let Some(module) = Module::get() else { return CKR_GENERAL_ERROR };
    let rules = module.rules();
    let (_inside, overlaps) = module.enter(function);
    let through = || {
        let shared = || module.sessions_in_use.read().unwrap_or_else(PoisonError::into_inner);
        // Not held by library calls: C_WaitForSlotEvent may take for ever.
        let _shared = (subject != Subject::Library).then(shared);
        call(module, &rules)
    };
    let rv = match verdict(module, &rules, function, subject, overlaps) {
        None => through(),
        Some(rv) => {
            let ends = output.filter(|output| !output.bytes.is_null() && rv != CKR_BUFFER_TOO_SMALL);
            if let Some(output) = ends {
                // A failure ends the operation, so the real one has to end too.
                // SAFETY: the caller's pointers, which the call may use.
                unsafe { discard(output, through) };
            }
            rv
        }
    };
    if rv != CKR_OK {
        module.status.shared().functions[function as usize].failures.fetch_add(1, Ordering::Relaxed);
    }
    rv
}

/// What the call fails with; None lets it through.
fn verdict(
    module: &Module,
    rules: &Rules,
    function: Function,
    subject: Subject,
    overlaps: bool,
) -> Option<CK_RV> {
    if rules.exclusive && overlaps {
        return Some(CKR_GENERAL_ERROR);
    }
    if let Some(rv) = rules.removed {
        match subject {
            Subject::Library => {}
            Subject::Slot => return Some(CKR_TOKEN_NOT_PRESENT),
            Subject::Session => return Some(rv),
        }
    }
    for rule in rules.rules.iter().filter(|rule| rule.concerns(function)) {
        let before = module.status.shared().hits[rule.slot].fetch_add(1, Ordering::Relaxed);
        if !rule.when.includes(before) {
            continue;
        }
        match rule.action {
            Action::Delay(time) => std::thread::sleep(time),
            Action::Fail(rv) => return Some(rv),
            Action::Hang => hang(module, rule.slot),
            Action::Crash(how) => crash(how),
        }
    }
    None
}

/// Until the rule is gone.
fn hang(module: &Module, slot: usize) {
    loop {
        let generation = module.status.shared().generation.load(Ordering::Acquire);
        if !module.rules().hangs(slot) {
            return;
        }
        module.status.wait(generation, LOOK);
    }
}

fn crash(how: Crash) {
    match how {
        Crash::Abort => std::process::abort(),
        // SAFETY: it ends the process, and nothing runs after it.
        Crash::Exit => unsafe { libc::_exit(1) },
        Crash::Segfault => {
            // SAFETY: a new page at an address of the kernel's choice. The write goes to memory that is allocated but may not be
            // written; the processor faults, which is what is wanted.
            unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
                page.cast::<u8>().write_volatile(0);
            }
        }
    }
}

/// Makes the call and wipes what came out.
///
/// # Safety
/// The output is what the call was given.
unsafe fn discard(output: Output, call: impl Fn() -> CK_RV) {
    // SAFETY: the length says how much may be written, before the call; it may not become more.
    unsafe {
        let room = if output.length.is_null() { 0 } else { *output.length };
        call();
        std::ptr::write_bytes(output.bytes, 0, room as usize);
    }
}
