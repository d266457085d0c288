//! What protects the serving process's memory.

use std::os::unix::fs::MetadataExt;

use holdfast_tests::{Host, Setup};

fn proc_file(host: &Host, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{name}", host.pid())).unwrap()
}

#[test]
fn the_serving_process_leaves_no_core_and_holds_its_secrets_in_locked_memory() {
    let host = Setup::new().start();
    let limits = proc_file(&host, "limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let status = proc_file(&host, "status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked: usize = locked.split_whitespace().next().unwrap().parse().unwrap();
    assert!(locked > 0 || host.log().contains("RLIMIT_MEMLOCK"), "neither locked nor said so: {status}");
    println!("VmLck {locked} KiB");
    // The files of an undumpable process belong to root.
    let user = std::fs::metadata(host.home()).unwrap().uid();
    if user == 0 {
        println!("skipped: as root, a process that isn't dumpable looks like any other");
    } else {
        let owner = std::fs::metadata(format!("/proc/{}/environ", host.pid())).unwrap().uid();
        assert_eq!(owner, 0, "the process is dumpable");
    }
}

#[test]
fn neither_log_nor_audit_log_nor_metrics_hold_a_secret_access_key() {
    let host = Setup::new().environment("RUST_LOG", "debug").start();
    host.client().call(holdfast_tests::Operation::Encrypt, "demo", holdfast_tests::encrypt_body("text")).ok();
    for text in [
        host.log(),
        host.audit_text(),
        host.metrics(),
        proc_file(&host, "cmdline"),
        proc_file(&host, "environ"),
    ] {
        assert!(!text.contains(&host.credential().secret));
    }
}
