use super::*;

#[test]
fn every_length_holds_its_bytes() {
    for len in [0, 1, 31, 32, 33, 64, 100, 2048, 4095, 4096, 4097, 100_000] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let secret = Secret::copy_from(&bytes);
        assert_eq!(secret.expose(), bytes);
        assert_eq!(secret.len(), len);
        assert_eq!(secret.clone(), secret);
    }
}

#[test]
fn neighbours_do_not_overlap() {
    let secrets: Vec<Secret> = (0..5000u32)
        .map(|i| Secret::with_len(40, |b| b.chunks_mut(4).for_each(|c| c.copy_from_slice(&i.to_be_bytes()))))
        .collect();
    for (i, secret) in secrets.iter().enumerate() {
        assert!(secret.expose().chunks(4).all(|c| c == (i as u32).to_be_bytes()));
    }
}

#[test]
fn a_new_secret_never_shows_an_old_one() {
    for len in [32, 512, 4096] {
        let filled: Vec<Secret> = (0..100).map(|_| Secret::with_len(len, |b| b.fill(0xaa))).collect();
        drop(filled);
        for _ in 0..200 {
            let fresh = Secret::with_len(len, |b| assert!(b.iter().all(|&x| x == 0)));
            std::mem::forget(fresh);
        }
    }
}

#[test]
fn a_failed_fill_gives_its_error() {
    let result = Secret::try_with_len(8, |b| {
        b.fill(1);
        Err::<(), _>("no randomness")
    });
    assert_eq!(result.unwrap_err(), "no randomness");
}

#[test]
fn differing_bytes_or_lengths_are_unequal() {
    assert_ne!(Secret::copy_from(b"abc"), Secret::copy_from(b"abd"));
    assert_ne!(Secret::copy_from(b"abc"), Secret::copy_from(b"abcd"));
}

#[test]
fn debug_prints_no_byte() {
    assert_eq!(format!("{:?}", Secret::copy_from(b"hunter2")), "Secret(..)");
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_is_locked_and_left_out_of_dumps() {
    let secret = Secret::copy_from(b"some secret bytes");
    let status = locking_status();
    assert!(status.locked + status.unlocked > 0);
    let flags = vm_flags(secret.expose().as_ptr() as usize);
    assert!(flags.split(' ').any(|flag| flag == "dd"), "no MADV_DONTDUMP: {flags}");
    if status.is_complete() {
        assert!(flags.split(' ').any(|flag| flag == "lo"), "not locked: {flags}");
    }
}

/// The `VmFlags` of the mapping around `address` (proc_pid_smaps(5)).
#[cfg(target_os = "linux")]
fn vm_flags(address: usize) -> String {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            if inside {
                return flags.trim().to_owned();
            }
        } else if let Some((start, end)) = line.split(' ').next().and_then(|range| range.split_once('-'))
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&address);
        }
    }
    panic!("{address:#x} is in no mapping");
}

/// Runs the ignored test `name` in a process of its own.
#[cfg(target_os = "linux")]
fn run_alone(name: &str) {
    let exe = std::env::current_exe().unwrap();
    let arguments = ["--exact", name, "--nocapture", "--ignored"];
    let output = std::process::Command::new(exe).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_hardened_process_leaves_no_core_dump() {
    run_alone("tests::hardened");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "changes its process; run by a_hardened_process_leaves_no_core_dump"]
fn hardened() {
    harden_process().unwrap();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // SAFETY: takes a number only.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn secrets_work_without_permission_to_lock_and_the_status_tells() {
    run_alone("tests::may_not_lock");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "changes its process; run by secrets_work_without_permission_to_lock_and_the_status_tells"]
fn may_not_lock() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one rlimit that lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) }, 0);
    // SAFETY: takes numbers only. Root may lock whatever the limit; nobody may not.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setuid(65534), 0);
        }
    }
    let secrets = [Secret::copy_from(&[7; 32]), Secret::copy_from(&[7; 5000])];
    assert!(secrets.iter().all(|secret| secret.expose().iter().all(|&byte| byte == 7)));
    let status = locking_status();
    assert_eq!((status.locked, status.is_complete()), (0, false));
    assert!(status.unlocked >= 5032 && status.errno.is_some(), "{status:?}");
    drop(secrets);
    assert!(locking_status().unlocked < 5000 + 16 * 1024);
}
