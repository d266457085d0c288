//! What a process used, from `/proc`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A reading of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    /// CPU time in user mode, in clock ticks (10 ms as a rule).
    pub(super) user_ticks: u64,
    /// CPU time in the kernel, in clock ticks.
    pub(super) system_ticks: u64,
    /// Resident memory in KiB.
    pub(super) resident_kib: u64,
}

/// Why a process can't be read.
#[derive(Debug, thiserror::Error)]
#[error("/proc/{pid} can't be read: {reason}; is {pid} the server's process id?")]
pub struct ProcessError {
    pid: u32,
    reason: String,
}

impl Sample {
    /// All threads, those that have ended too.
    pub(super) fn take(pid: u32) -> Result<Self, ProcessError> {
        let failed = |reason: String| ProcessError { pid, reason };
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|error| failed(error.to_string()))
        };
        let (user_ticks, system_ticks) =
            cpu_ticks(&read("stat")?).ok_or_else(|| failed("stat has another format".to_owned()))?;
        let resident_kib =
            resident_kib(&read("status")?).ok_or_else(|| failed("status has no VmRSS".to_owned()))?;
        Ok(Self { user_ticks, system_ticks, resident_kib })
    }
}

/// utime and stime, the fields 14 and 15 (proc_pid_stat(5)); the second field may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Clock ticks as time.
pub(super) fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU time of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) (b c)) S 1 7 7 0 -1 4194304 100 0 0 0 25 12 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some((25, 12)));
        assert_eq!(resident_kib("VmHWM:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_234));
    }

    #[test]
    fn this_process_can_be_read_and_one_that_is_not_there_is_named() {
        assert!(Sample::take(std::process::id()).unwrap().resident_kib > 0);
        let error = Sample::take(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("is 4294967295 the server's process id?"), "{error}");
    }
}
