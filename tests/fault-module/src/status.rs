//! Counters in a file that the module and the tests map into their memory.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::functions::Function;

/// How many rules can count their calls.
pub const HITS: usize = 256;
/// How many processes may have the module open at once.
const PROCESSES: usize = 32;
const FUNCTIONS: usize = Function::ALL.len();

/// The file's contents. All zero bytes is a good start.
#[repr(C)]
pub struct Shared {
    /// Moves with every change of the control file; waited on by those that hang.
    pub generation: AtomicU32,
    /// Calls that began while another one was inside, in the same process.
    pub overlaps: AtomicU64,
    /// The most calls inside at once, in one process.
    pub most_inside: AtomicU64,
    /// The most sessions open at once, in one process.
    pub most_sessions: AtomicU64,
    /// Calls that each rule's functions had since the rule was made.
    pub hits: [AtomicU64; HITS],
    /// By the number of the function.
    pub functions: [PerFunction; FUNCTIONS],
    /// Those that have, or had, the module open.
    pub processes: [PerProcess; PROCESSES],
}

/// Counts of one function.
#[repr(C)]
pub struct PerFunction {
    /// Begun.
    pub calls: AtomicU64,
    /// Ended with something else than CKR_OK.
    pub failures: AtomicU64,
    /// The most inside at once, in one process.
    pub most_inside: AtomicU64,
}

/// What one process has now.
#[repr(C)]
pub struct PerProcess {
    /// 0 is nobody.
    pub pid: AtomicU32,
    /// Open.
    pub sessions: AtomicU32,
    /// Calls inside.
    pub inside: AtomicU32,
    /// The same, by the number of the function.
    pub inside_of: [AtomicU32; FUNCTIONS],
}

/// The file, mapped.
pub struct Status {
    shared: NonNull<Shared>,
}

// SAFETY: what the pointer leads to is atomics only, valid until drop.
unsafe impl Send for Status {}
// SAFETY: as above.
unsafe impl Sync for Status {}

impl Status {
    /// Maps the file, which is made if need be.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < size_of::<Shared>() as u64 {
            file.set_len(size_of::<Shared>() as u64)?;
        }
        Self::map(file.as_raw_fd(), libc::MAP_SHARED)
    }

    /// Counters that nobody else sees.
    pub fn private() -> io::Result<Self> {
        Self::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
    }

    fn map(file: i32, flags: i32) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), access, flags, file, 0) };
        match NonNull::new(address.cast()) {
            Some(shared) if address != libc::MAP_FAILED => Ok(Self { shared }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The counters.
    pub fn shared(&self) -> &Shared {
        // SAFETY: mapped, aligned to a page, long enough, and all bit patterns are good.
        unsafe { self.shared.as_ref() }
    }

    /// Says that the control file changed.
    pub fn announce(&self) {
        let generation = &self.shared().generation;
        generation.fetch_add(1, Ordering::Release);
        // SAFETY: the address is that of a mapped, aligned u32; waking takes no other pointer.
        unsafe { libc::syscall(libc::SYS_futex, generation.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    /// Waits until the generation isn't `seen`, at most for `limit`.
    pub fn wait(&self, seen: u32, limit: Duration) {
        let limit = libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(limit.subsec_nanos()),
        };
        let generation = self.shared().generation.as_ptr();
        // SAFETY: the address is that of a mapped, aligned u32, and the time outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, generation, libc::FUTEX_WAIT, seen, &raw const limit) };
    }

    /// The place of this process; None if too many others live.
    pub fn claim(&self) -> Option<usize> {
        let own = std::process::id();
        self.shared().processes.iter().position(|process| {
            let pid = process.pid.load(Ordering::Acquire);
            let free = pid == 0 || pid == own || !is_alive(pid);
            let claimed =
                free && process.pid.compare_exchange(pid, own, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if claimed {
                process.sessions.store(0, Ordering::Relaxed);
                process.inside.store(0, Ordering::Relaxed);
                process.inside_of.iter().for_each(|inside| inside.store(0, Ordering::Relaxed));
            }
            claimed
        })
    }

    /// Those that live.
    fn living(&self) -> impl Iterator<Item = (u32, &PerProcess)> {
        let processes = self.shared().processes.iter();
        let with_pid = processes.map(|process| (process.pid.load(Ordering::Acquire), process));
        with_pid.filter(|(pid, _)| *pid != 0 && is_alive(*pid))
    }

    /// The process ids of those that live.
    pub fn alive(&self) -> Vec<u32> {
        self.living().map(|(pid, _)| pid).collect()
    }

    /// The sum over all processes that live.
    pub fn sum(&self, of: impl Fn(&PerProcess) -> u32) -> u64 {
        self.living().map(|(_, process)| u64::from(of(process))).sum()
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: mapped by us with this length; no reference into it outlives `self`.
        unsafe { libc::munmap(self.shared.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// Whether there is such a process and it isn't a zombie.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_of_a_file_share_counters_and_the_dead_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let one = Status::open(&folder.path().join("status")).unwrap();
        let two = Status::open(&folder.path().join("status")).unwrap();
        one.shared().overlaps.fetch_add(3, Ordering::Relaxed);
        assert_eq!(two.shared().overlaps.load(Ordering::Relaxed), 3);

        let mut child = std::process::Command::new("true").spawn().unwrap();
        one.shared().processes[0].pid.store(child.id(), Ordering::Relaxed);
        one.shared().processes[0].sessions.store(5, Ordering::Relaxed);
        child.wait().unwrap();
        assert_eq!(two.sum(|process| process.sessions.load(Ordering::Relaxed)), 0);
        assert_eq!(two.claim(), Some(0));
        one.shared().processes[0].sessions.store(2, Ordering::Relaxed);
        assert_eq!(two.sum(|process| process.sessions.load(Ordering::Relaxed)), 2);
    }

    #[test]
    fn a_change_wakes_who_waits() {
        let status = Status::private().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                while status.shared().generation.load(Ordering::Acquire) == 0 {
                    status.wait(0, Duration::from_secs(60));
                }
            });
            status.announce();
            waiting.join().unwrap();
        });
    }
}
