//! What keeps secrets of the whole process out of core dumps and other processes.

use std::io;

/// Why a protection could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed: {source}; core dumps of this process could hold secrets")]
pub struct HardenError {
    /// The system call.
    pub call: &'static str,
    /// What it said.
    pub source: io::Error,
}

/// Forbids core dumps (`RLIMIT_CORE` 0) and, on Linux, attaching to and reading this process by others of the same
/// user (`PR_SET_DUMPABLE` 0). Call it once, before the first secret.
pub fn harden_process() -> Result<(), HardenError> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one rlimit that lives through the call.
    check("setrlimit(RLIMIT_CORE)", unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })?;
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only.
    check("prctl(PR_SET_DUMPABLE)", unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    Ok(())
}

fn check(call: &'static str, result: libc::c_int) -> Result<(), HardenError> {
    match result {
        0 => Ok(()),
        _ => Err(HardenError { call, source: io::Error::last_os_error() }),
    }
}
