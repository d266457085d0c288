//! docs/operations.md's "Install as a service", its own lines, under a real systemd: in a throw-away overlay of this machine's root, by
//! systemd-nspawn. Skipped, with a word, where that can't be had.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_tests::{cache, components, program};

const PAGE: &str = include_str!("../docs/operations.md");
const UNIT: &str = include_str!("../deploy/holdfast.service");

/// The indented lines of a section.
fn lines_of(section: &str) -> String {
    let text = PAGE.split_once(section).unwrap().1;
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    text.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect()
}

/// Runs in the container once it has booted; all that it prints is in `out.txt`.
fn script() -> String {
    let page = lines_of("## Install as a service");
    assert!(page.contains("systemctl enable --now holdfast") && page.contains("holdfast key list"), "{page}");
    let page = page
        .replace("target/release/holdfast", "/in/holdfast")
        .replace("target/components", "/in/components")
        .replace("deploy/", "/in/");
    let (install, afterwards) = page.split_once("systemd-run").unwrap();
    format!(
        "ip link set lo up
systemctl start dbus.socket
set -e
trap 'echo FAILED at line $LINENO; journalctl -u holdfast --no-pager -o cat | tail -20' ERR
# Compiled code of other tests, to be quicker; the service's own, as systemd makes it.
[ -d /var/cache/holdfast ] || {{ mkdir -p /var/cache/holdfast; cp /in/cache/* /var/cache/holdfast/ 2>/dev/null || true; }}
{install}
for i in $(seq 600); do curl -sk -m 2 https://127.0.0.1/ping | grep -q ok && break; sleep 0.5; done
echo PING $(curl -sk -m 2 https://127.0.0.1/ping)
systemd-run{afterwards}
holdfast call encrypt --url https://localhost:443 --ca /etc/holdfast/tls/ca.pem --credential /etc/holdfast/demo-credential.json \
  --region eu-central-1 --key demo --plaintext hello
systemctl reload holdfast
sleep 1
echo STATE $(systemctl show holdfast -p ActiveState,SubState,NRestarts --value)
journalctl -u holdfast -o cat --no-pager | grep SIGHUP
setpriv --reuid holdfast --regid holdfast --clear-groups cat /etc/holdfast/keystore.seal && echo THE SEAL CAN BE READ
systemctl stop holdfast
echo STOPPED $(systemctl show holdfast -p ActiveState,Result --value)
echo DONE
"
    )
}

fn boot(inside: &Path, out: &Path) -> bool {
    let run = "set -e
for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  if [ -f $tree/cgroup.procs ]; then mkdir -p $tree/holdfast-test && echo $$ > $tree/holdfast-test/cgroup.procs || true; fi
done
exec unshare -m bash -c '
set -e
mount --make-rprivate /
scratch=$2/scratch; mkdir $scratch; mount -t tmpfs -o size=6G tmpfs $scratch; mkdir $scratch/u $scratch/w $scratch/m
mount -t overlay -o lowerdir=/,upperdir=$scratch/u,workdir=$scratch/w overlay $scratch/m
root=$scratch/m
rm -rf $root/etc/systemd/system/*.wants; : > $root/etc/machine-id; mkdir -p $root/out $root/in
printf \"[Unit]\\nAfter=basic.target\\n[Service]\\nType=oneshot\\nExecStart=/bin/bash /in/script\\nStandardOutput=append:/out/out.txt\\nStandardError=append:/out/out.txt\\nExecStopPost=/bin/systemctl --no-block poweroff\\nTimeoutStartSec=infinity\\n\" > $root/etc/systemd/system/case.service
exec systemd-nspawn --directory=$root --register=no --keep-unit --private-network --machine=holdfast-test --bind=$2:/out --bind-ro=$1:/in --system-call-filter=\"@memlock sched_setattr\" --boot -- --unit=case.service
' - $1 $2";
    let mut command = Command::new("bash");
    command.args(["-c", run, "-"]).arg(inside).arg(out).stdin(Stdio::null());
    let output = command.output().unwrap();
    fs::write(out.join("console.txt"), [output.stdout, output.stderr].concat()).unwrap();
    out.join("out.txt").is_file()
}

#[test]
fn the_pages_lines_install_a_service_that_works() {
    let is_root = rustix::process::geteuid().is_root();
    let has =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success());
    if !is_root || !has("systemd-nspawn") || !has("curl") {
        println!("skipped: root, systemd-nspawn (Debian's systemd-container) and curl are needed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (inside, out) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&out).unwrap();
    fs::copy(program(), inside.join("holdfast")).unwrap();
    fs::write(inside.join("holdfast.service"), UNIT).unwrap();
    fs::write(inside.join("script"), script()).unwrap();
    for (from, to) in [(components(), "components"), (cache(), "cache")] {
        fs::create_dir(inside.join(to)).unwrap();
        for entry in fs::read_dir(from).into_iter().flatten().flatten().filter(|entry| entry.path().is_file())
        {
            fs::copy(entry.path(), inside.join(to).join(entry.file_name())).unwrap();
        }
    }
    if !boot(&inside, &out) {
        println!(
            "skipped: systemd can't be booted here: {}",
            fs::read_to_string(out.join("console.txt")).unwrap()
        );
        return;
    }
    let said = fs::read_to_string(out.join("out.txt")).unwrap();
    println!("{said}");
    for wanted in [
        "PING {\"status\":\"ok\"}",
        "demo",
        "ciphertext",
        "STATE 0 active running",
        "SIGHUP: keystore",
        "STOPPED success inactive",
        "DONE",
    ] {
        let parts: Vec<&str> = wanted.split(' ').collect();
        let found = said.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {wanted:?}");
    }
    assert!(!said.contains("FAILED") && !said.contains("THE SEAL CAN BE READ"));
}
