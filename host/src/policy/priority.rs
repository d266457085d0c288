//! The priority of threads that are less urgent than requests.

/// For a thread whose work nobody is to notice. `SCHED_IDLE` and not the least niceness: a request's thread that wakes takes
/// the processor from it at once, where it would wait for the end of a time slice (some 3 ms) of one that is only nicer.
///
/// Nobody needs a privilege for less priority; where it is refused all the same (by a filter of system calls, say), the thread
/// competes with others, which is no more than a loss of speed.
pub(super) fn behind_everything() {
    if !idle() && !nice(19) {
        tracing::debug!("the priority of a thread stays as it is");
    }
}

#[cfg(target_os = "linux")]
fn nice(niceness: i32) -> bool {
    // SAFETY: takes numbers only. On Linux it is the calling thread that 0 stands for.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) == 0 }
}

#[cfg(target_os = "linux")]
fn idle() -> bool {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: `no_priority` lives as long as the call. 0 stands for the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const no_priority) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn nice(_: i32) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn idle() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Policy and niceness of this thread.
    fn now() -> (i32, i32) {
        // SAFETY: both take numbers only.
        unsafe { (libc::sched_getscheduler(0), libc::getpriority(libc::PRIO_PROCESS, 0)) }
    }

    #[test]
    fn it_is_this_thread_alone_that_is_lowered() {
        let before = now();
        let lowered = std::thread::spawn(|| {
            behind_everything();
            now()
        });
        assert_eq!(lowered.join().unwrap().0, libc::SCHED_IDLE);
        assert_eq!(now(), before);
    }
}
