//! The audit log's sink fails: requests are refused, and none is lost silently.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_tests::{Client, Host, Operation, Reply, Setup, encrypt_body, wait_for};
use serde_json::Value;

use crate::traffic::undisturbed;

/// The budget and what is added for the record are about a second; the rest is for a machine with other work.
const IN_TIME: Duration = Duration::from_secs(15);

fn encrypt(client: &mut Client) -> Reply {
    client.call(Operation::Encrypt, "demo", encrypt_body("a plaintext"))
}

#[track_caller]
fn is_refused(client: &mut Client) {
    refused_as(client, 500, "InternalException");
}

#[track_caller]
fn is_refused_in_time(client: &mut Client) {
    refused_as(client, 503, "DependencyTimeoutException");
}

#[track_caller]
fn refused_as(client: &mut Client, status: u16, name: &str) {
    let start = Instant::now();
    let reply = encrypt(client);
    reply.refused(status, name);
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    assert!(reply.text().contains("audit"), "{}", reply.text());
}

#[track_caller]
fn works_again(client: &mut Client) {
    wait_for("requests to be served again", || (encrypt(client).status == 200).then_some(()));
}

/// The records of requests; not those that the log writes of itself, and not a torn last line.
fn requests(text: &str) -> usize {
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record.get("status").is_some()).count()
}

fn unrecorded(host: &Host) -> u64 {
    host.metric(&["holdfast_unrecorded_total"])
}

#[test]
fn l1_a_full_sink_refuses_every_request_and_says_why() {
    let mut host = Setup::new().limit("budget", "1s").audit("/dev/full").start();
    let mut client = host.client();
    for _ in 0..5 {
        is_refused(&mut client);
    }
    assert_eq!(unrecorded(&host), 5);
    assert!(host.log().contains("/dev/full can't be written"), "{}", host.log());
    host.terminate();
    assert_eq!(host.wait().code(), Some(0));
}

#[test]
fn l1_requests_cannot_flood_the_log() {
    let mut host = Setup::new().limit("budget", "1s").audit("/dev/full").start();
    let mut client = host.client();
    let refused = 60;
    (0..refused).for_each(|_| is_refused(&mut client));
    assert_eq!(unrecorded(&host), refused);
    host.terminate();
    host.wait();
    let log = host.log();
    let written = log.lines().filter(|line| line.contains("requests are refused") && line.contains("ERROR"));
    // A state that lasts is told once; the counter has each.
    assert_eq!(written.count(), 1, "{log}");
}

#[test]
fn l1_a_sink_that_hangs_refuses_within_the_budget_and_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Open, and not read: a pipe holds 64 KiB.
    let mut reader = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCK).open(&path).unwrap();
    let host = Setup::new().limit("budget", "1s").audit(&path).start();
    let mut client = host.client();
    let mut works = 0;
    wait_for("the pipe to be full", || {
        let reply = encrypt(&mut client);
        works += usize::from(reply.status == 200);
        (reply.status != 200).then_some(())
    });
    for _ in 0..3 {
        is_refused_in_time(&mut client);
    }
    wait_for("a line that says so", || host.log().contains("has taken nothing for").then_some(()));
    assert_eq!(host.metric(&["holdfast_audit_log_writable"]), 0);
    let refused = unrecorded(&host);
    assert!(refused >= 4, "{refused}");
    let mut text = Vec::new();
    let mut drain = || match reader.read_to_end(&mut text) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?}"),
    };
    drain();
    wait_for("requests to be served again", || {
        drain();
        (encrypt(&mut client).status == 200).then_some(())
    });
    drain();
    let records = requests(&String::from_utf8(text).unwrap());
    assert!(records > works, "no answer of 200 is without its record: {records} of {works}");
}

const NONBLOCK: i32 = 0o4000;

#[test]
fn l1_a_full_disk_refuses_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("skipped: only root can mount a small tmpfs");
        return;
    }
    let mounted = Mounted(folder);
    let path = mounted.0.path().join("audit.jsonl");
    let host = Setup::new().limit("budget", "1s").audit(&path).start();
    let mut client = host.client();
    let mut works = 0;
    wait_for("the disk to be full", || {
        let full = encrypt(&mut client).status != 200;
        works += usize::from(!full);
        full.then_some(())
    });
    is_refused(&mut client);
    let full = mounted.0.path().join("audit.1");
    let content = fs::read(&path).unwrap();
    fs::rename(&path, &full).unwrap();
    fs::write(&full, b"").unwrap();
    works_again(&mut client);
    drop(host);
    let text = String::from_utf8(content).unwrap();
    assert_eq!(requests(&text), works, "as many records as answers of 200");
}

/// Unmounts on drop.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn l1_a_removed_folder_refuses_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("audit");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.jsonl");
    let host = Setup::new().limit("budget", "1s").audit(&path).start();
    let mut client = host.client();
    encrypt(&mut client).ok();
    fs::remove_dir_all(&inner).unwrap();
    is_refused(&mut client);
    is_refused(&mut client);
    fs::create_dir(&inner).unwrap();
    encrypt(&mut client).ok();
    assert_eq!(requests(&fs::read_to_string(&path).unwrap()), 1);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(unrecorded(&host), 2);
}

#[test]
fn l1_a_line_that_a_crash_cut_short_spoils_no_other() {
    let mut host = Setup::new().start();
    encrypt(&mut host.client()).ok();
    let path = host.home().join("audit.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&whole.as_bytes()[..whole.len() / 2])
        .unwrap();
    host.restart();
    encrypt(&mut host.client()).ok();
    let text = fs::read_to_string(&path).unwrap();
    let read: Vec<bool> = text.lines().map(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
    assert_eq!(read, [true, false, true], "{text}");
}

#[test]
fn l1_a_renamed_log_is_followed_and_no_record_is_lost() {
    let host = Setup::new().start();
    let (path, old) = (host.home().join("audit.jsonl"), host.home().join("audit.1"));
    let served = undisturbed(&host, || {
        fs::rename(&path, &old).unwrap();
        wait_for("a new log", || File::open(&path).ok()?.metadata().ok().filter(|new| new.len() > 0));
    });
    let ids = |path| {
        let text = fs::read_to_string(path).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let requests = records.filter(|record| record.get("status").is_some());
        requests.map(|record| record["requestMetadata"]["kmsRequestId"].to_string()).collect::<BTreeSet<_>>()
    };
    let (before, after) = (ids(&old), ids(&path));
    assert!(!before.is_empty() && !after.is_empty());
    // One that was written as the file was renamed stands in both.
    assert_eq!(before.union(&after).count(), served);
}
