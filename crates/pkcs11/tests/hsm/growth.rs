//! Many operations leave nothing behind.

use crate::rig::{BOTH, Rig, TEXT, eventually};
use holdfast_pkcs11::Isolation;

/// Resident memory in KiB and threads of a process.
fn size(process: u32) -> (i64, i64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("Threads:"))
}

fn run(rig: &Rig, rounds: u32) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..rounds / 4 {
                    let made = eventually(|| rig.encrypt());
                    assert_eq!(eventually(|| rig.decrypt(&made)), TEXT);
                }
            });
        }
    });
}

#[test]
#[ignore = "takes minutes; for a quiet machine"]
fn two_hundred_thousand_operations_leave_no_sessions_threads_or_memory() {
    for isolation in BOTH {
        let Some(rig) = Rig::new(&["growth"], isolation) else { return };
        let own = std::process::id();
        let worker = rig.faults().processes().into_iter().find(|process| *process != own);
        let process = if isolation == Isolation::Process { worker.unwrap() } else { own };
        run(&rig, 20_000);
        let before = (size(own), size(process), rig.faults().sessions());
        run(&rig, 100_000);
        let after = (size(own), size(process), rig.faults().sessions());
        println!("{isolation:?}: {before:?} {after:?}");
        assert_eq!(before.2, after.2);
        for (before, after) in [(before.0, after.0), (before.1, after.1)] {
            assert!(after.0 - before.0 < 2048, "{before:?} {after:?}");
            assert_eq!(before.1, after.1);
        }
    }
}
