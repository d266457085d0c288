//! What commands do to a call.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;

use crate::functions::Function;
use crate::module::{LOOK, Module};
use crate::rules::{Action, Crash, Rules};

/// More than any operation's output is longer than its input.
const LONGER: usize = 4096;

/// What a call's first argument names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Library,
    Slot,
    Session,
}

/// What a call that ends an operation takes and where it writes to.
#[derive(Clone, Copy)]
pub struct Output {
    pub data_length: CK_ULONG,
    pub bytes: *mut CK_BYTE,
    pub length: *mut CK_ULONG,
}

/// Passes a call on, unless commanded otherwise.
/// `call` is given the module, its rules, and where to write.
pub fn pass(
    function: Function,
    subject: Subject,
    output: Option<Output>,
    call: impl Fn(&Module, &Rules, Option<Output>) -> CK_RV,
) -> CK_RV {
    let Some(module) = Module::get() else { return CKR_GENERAL_ERROR };
    let rules = module.rules();
    let (_inside, overlaps) = module.enter(function);
    let through = |output| {
        let shared = || module.sessions_in_use.read().unwrap_or_else(PoisonError::into_inner);
        // Not held by library calls: C_WaitForSlotEvent may take for ever.
        let _shared = (subject != Subject::Library).then(shared);
        call(module, &rules, output)
    };
    let rv = match verdict(module, &rules, function, subject, overlaps) {
        Verdict::Through => through(output),
        Verdict::Garbled => {
            let rv = through(output);
            if let Some(Output { bytes, length, .. }) =
                output.filter(|output| rv == CKR_OK && !output.bytes.is_null())
            {
                // SAFETY: the call wrote that many bytes there.
                unsafe {
                    if *length > 0 {
                        *bytes ^= 1;
                    }
                }
            }
            rv
        }
        Verdict::Fails(rv) => {
            if let Some(output) = output.filter(|_| rv != CKR_BUFFER_TOO_SMALL) {
                // A failure ends the operation, so the real one has to end too.
                let mut unseen = vec![0; output.data_length as usize + LONGER];
                let mut length = unseen.len() as CK_ULONG;
                let (bytes, length) = (unseen.as_mut_ptr(), &raw mut length);
                through(Some(Output { bytes, length, ..output }));
            }
            rv
        }
    };
    if rv != CKR_OK {
        module.status.shared().functions[function as usize].failures.fetch_add(1, Ordering::Relaxed);
    }
    rv
}

/// What becomes of a call.
enum Verdict {
    Through,
    /// It is let through, and what it gave is altered.
    Garbled,
    Fails(CK_RV),
}

fn verdict(module: &Module, rules: &Rules, function: Function, subject: Subject, overlaps: bool) -> Verdict {
    if rules.exclusive && overlaps {
        return Verdict::Fails(CKR_GENERAL_ERROR);
    }
    if let Some(rv) = rules.removed {
        match subject {
            Subject::Library => {}
            Subject::Slot => return Verdict::Fails(CKR_TOKEN_NOT_PRESENT),
            Subject::Session => return Verdict::Fails(rv),
        }
    }
    let mut verdict = Verdict::Through;
    for rule in rules.rules.iter().filter(|rule| rule.concerns(function)) {
        let before = module.status.shared().hits[rule.slot].fetch_add(1, Ordering::Relaxed);
        if !rule.when.includes(before) {
            continue;
        }
        match rule.action {
            Action::Delay(time) => std::thread::sleep(time),
            Action::Fail(rv) => return Verdict::Fails(rv),
            Action::Garble => verdict = Verdict::Garbled,
            Action::Hang => hang(module, rule.slot),
            Action::Crash(how) => crash(how),
        }
    }
    verdict
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
