//! The priority of threads that are less urgent than requests.

/// In nanoseconds: some times that of others, which have 3 ms at most. It isn't the longest there is (100 ms), since kernels
/// differ in how long they let those wait that don't wake but had used theirs up.
#[cfg(target_os = "linux")]
const LONG_SLICE: u64 = 10_000_000;

/// For a thread whose work nobody is to notice. `SCHED_IDLE` and not the least niceness: a request's thread that wakes takes
/// the processor from it at once, where it would wait for the end of a time slice (some 3 ms) of one that is only nicer.
///
/// Nobody needs a privilege for less priority; where it is refused all the same (by a filter of system calls, say), the thread
/// competes with others, which is no more than a loss of speed.
pub fn behind_everything() {
    if !idle() && !nice(19) {
        tracing::debug!("the priority of a thread stays as it is");
    }
}

/// For a thread that works for long at a time: who wakes up takes the processor from it at once, and yet it gets its share.
///
/// Its time slice is a long one. Since Linux 6.12 a thread that wakes and has a shorter one doesn't wait for the end
/// of the slice that is running. Earlier kernels know slices of real-time threads only, and ignore this one.
pub fn behind_who_wakes() {
    if !long_slices() {
        tracing::debug!("the time slice of a thread stays as it is");
    }
}

#[cfg(target_os = "linux")]
fn long_slices() -> bool {
    // SAFETY: takes numbers only. On Linux it is the calling thread that 0 stands for.
    let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: niceness,
        sched_priority: 0,
        sched_runtime: LONG_SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `attributes` is of the size that it says, and lives as long as the call.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn long_slices() -> bool {
    false
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

    /// Policy and slice of this thread, as the kernel has them.
    fn slice() -> (u32, u64) {
        // SAFETY: numbers only; all zeros are numbers.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>();
        // SAFETY: the kernel writes no more than `size` bytes.
        let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        assert_eq!(done, 0);
        (attributes.sched_policy, attributes.sched_runtime)
    }

    #[test]
    fn a_thread_gets_long_slices_where_the_kernel_has_them() {
        let before = (now(), slice());
        let after = std::thread::spawn(|| {
            behind_who_wakes();
            (now().1, slice())
        });
        let (niceness, (policy, slice_now)) = after.join().unwrap();
        assert_eq!((niceness, policy), (before.0.1, libc::SCHED_BATCH as u32));
        // Kernels before 6.12 tell no slice.
        assert!(slice_now == LONG_SLICE || before.1.1 == 0, "{slice_now}");
        assert_eq!((now(), slice()), before);
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
