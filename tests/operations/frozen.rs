//! A file system that hangs, as a disk or a network share does: nothing that serves waits for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use holdfast_tests::{HandMade, Operation, PATIENCE, Setup, encrypt_body, wait_for};
use rustix::process::Signal;

/// A small file system of its own on a loop device; thawed and taken away in the end.
struct Volume {
    place: PathBuf,
    _folder: tempfile::TempDir,
}

impl Volume {
    /// None, with a word, where it can't be made.
    fn new() -> Option<Volume> {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("volume"));
        std::fs::create_dir(&place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let made = run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_path()])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_path(), place.as_path()]);
        if !made {
            println!(
                "skipped: no file system can be mounted here (root, mkfs.ext4 and loop devices are needed)"
            );
            return None;
        }
        Some(Volume { place, _folder: folder })
    }

    fn freeze(&self) {
        assert!(run("fsfreeze", &["-f".as_ref(), self.place.as_path()]));
    }

    fn thaw(&self) {
        run("fsfreeze", &["-u".as_ref(), self.place.as_path()]);
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.thaw();
        // The host may still have a file open on it.
        run("umount", &["-l".as_ref(), self.place.as_path()]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_disk_of_the_audit_log_that_hangs_refuses_in_time_says_so_and_passes() {
    let Some(volume) = Volume::new() else { return };
    let host = Setup::new().limit("budget", "500ms").audit(volume.place.join("audit.jsonl")).start();
    let mut clients: Vec<_> = (0..4).map(|_| host.client()).collect();
    for client in &mut clients {
        client.call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    }
    volume.freeze();
    // One after the other: as many as there are threads would be enough to stop a host that writes on them.
    for client in &mut clients {
        let begun = Instant::now();
        let reply = client.call(Operation::Encrypt, "demo", encrypt_body("text"));
        reply.refused(503, "DependencyTimeoutException");
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    }
    let ping = || host.raw().exchange("GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_for("a ping that says so", || (ping().status == 503).then_some(()));
    assert!(ping().text().contains("audit log"), "{}", ping().text());
    wait_for("a line", || host.log().contains("its file system hangs").then_some(()));
    assert_eq!(host.metric(&["holdfast_audit_log_writable"]), 0);
    volume.thaw();
    wait_for("requests to be served again", || {
        (clients[0].call(Operation::Encrypt, "demo", encrypt_body("text")).status == 200).then_some(())
    });
    wait_for("a ping that says so", || (ping().status == 200).then_some(()));
    wait_for("a line that it is over", || host.log().contains("takes records again").then_some(()));
    // No record of success for an answer that was none, but one that says so.
    let records = host.audit_records();
    let served = records.iter().filter(|record| record["status"] == 200).count();
    let withheld = records.iter().filter(|record| record["type"] == "answer-withheld").count();
    assert!(served <= 6 + withheld, "{records:#?}");
}

#[test]
fn a_host_whose_disk_hangs_takes_no_more_connections_once_it_is_told_to_stop() {
    let Some(volume) = Volume::new() else { return };
    let host = Setup::new().limit("budget", "500ms").audit(volume.place.join("audit.jsonl")).start();
    volume.freeze();
    let reply = host.client().call(Operation::Encrypt, "demo", encrypt_body("text"));
    reply.refused(503, "DependencyTimeoutException");
    // A stranger's failure makes a summary, which waits for the disk as well.
    let mut forged = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("text")).sign();
    forged.set("host", "elsewhere.example");
    host.raw().exchange(forged.bytes()).refused(401, "AuthenticationFailedException");
    host.signal(Signal::TERM);
    wait_for("the port to be free", || std::net::TcpStream::connect(host.address()).is_err().then_some(()));
    wait_for("its last line", || host.log().contains("stopped").then_some(()));
    volume.thaw();
}
