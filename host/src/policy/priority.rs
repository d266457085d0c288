//! Priorities of threads that are less urgent than requests.

/// Requests come first; a thread of this niceness gets about a tenth of a processor that they keep busy.
pub(super) const BEHIND_REQUESTS: i32 = 10;

/// Everything comes first. Such a thread still gets one part in 70 of a busy processor, so that locks which it holds in the
/// kernel (on the process's memory) don't stay held; SCHED_IDLE would leave it a fifth of that.
pub(super) const BEHIND_EVERYTHING: i32 = 19;

/// Lowers the priority of this thread. Nobody needs a privilege for that; where it is refused all the same, the thread
/// competes with others, which is no more than a loss of speed.
pub(super) fn lower(niceness: i32) {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only. On Linux it is the calling thread that 0 stands for.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) } != 0;
    #[cfg(not(target_os = "linux"))]
    let refused = true;
    if refused {
        tracing::debug!(niceness, "the priority of a thread stays as it is");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_this_thread_alone_that_is_lowered() {
        // SAFETY: takes numbers only.
        let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = niceness();
        let lowered = std::thread::spawn(move || {
            lower(BEHIND_EVERYTHING);
            niceness()
        });
        assert_eq!((lowered.join().unwrap(), niceness()), (BEHIND_EVERYTHING, before));
    }
}
