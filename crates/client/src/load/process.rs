//! What a process used, from `/proc`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A reading of another process and those that it started, ended ones too.
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
    /// All threads and children, those that have ended too. A child that starts or ends meanwhile may be missed.
    pub(super) fn take(pid: u32) -> Result<Self, ProcessError> {
        let own = Self::of(pid)?;
        let children = children(pid).into_iter().filter_map(|child| Self::of(child).ok());
        Ok(children.fold(own, |sum, child| Self {
            user_ticks: sum.user_ticks + child.user_ticks,
            system_ticks: sum.system_ticks + child.system_ticks,
            resident_kib: sum.resident_kib + child.resident_kib,
        }))
    }

    fn of(pid: u32) -> Result<Self, ProcessError> {
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

/// utime and stime, the fields 14 and 15, and those of children that were waited for, 16 and 17 (proc_pid_stat(5)).
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut numbers = fields(stat)?.skip(11).map(|field| field.parse::<u64>().ok());
    let (user, system) = (numbers.next()??, numbers.next()??);
    Some((user + numbers.next()??, system + numbers.next()??))
}

/// From the third field on; the second may hold spaces and parentheses.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace())
}

/// The processes that `pid` started, which still run.
fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent = |child: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        fields(&stat)?.nth(1)?.parse().ok()
    };
    numbers.filter(|child| parent(*child) == Some(pid)).collect()
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
        let stat = "7 (a) (b c)) S 1 7 7 0 -1 4194304 100 0 0 0 25 12 3 1 20 0 3 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some((28, 13)));
        assert_eq!(fields(stat).unwrap().nth(1), Some("1"));
        assert_eq!(resident_kib("VmHWM:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_234));
    }

    #[test]
    fn what_a_child_uses_counts() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = Sample::of(std::process::id()).unwrap();
        let found = children(std::process::id());
        let all = Sample::take(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert!(all.user_ticks >= own.user_ticks);
    }

    #[test]
    fn this_process_can_be_read_and_one_that_is_not_there_is_named() {
        assert!(Sample::take(std::process::id()).unwrap().resident_kib > 0);
        let error = Sample::take(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("is 4294967295 the server's process id?"), "{error}");
    }
}
