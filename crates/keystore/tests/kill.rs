//! SIGKILL at any instant: the file opens, and nothing acknowledged is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the functions beside the tests too
#![cfg(unix)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_keystore::{Contents, KeyId, KeyStoreName, KeystoreFile, Seal, SystemRandom, Usage};

const PATH: &str = "HOLDFAST_TEST_KILL_PATH";
const FIRST: &str = "HOLDFAST_TEST_KILL_FIRST";
const WRITES: u32 = 200;

fn seal() -> Seal {
    Seal::key_file(&[1; 32]).unwrap()
}

fn store() -> KeyStoreName {
    KeyStoreName::parse("main").unwrap()
}

/// What every write does: makes one key, and destroys the one made ten writes before (which takes two generations).
fn write(file: &KeystoreFile, seal: &Seal, number: u32) {
    let name = |number: u32| KeyId::parse(&format!("k{number}")).unwrap();
    file.update(seal, |contents| {
        contents.create_key(&store(), &name(number), Usage::BOTH, 0, &mut SystemRandom)?;
        match number.checked_sub(10) {
            Some(old) => contents.destroy_key(&store(), &name(old)),
            None => Ok(()),
        }
    })
    .unwrap();
}

/// The process that is killed. A test only so that this very executable can be started as it.
#[test]
fn writer() {
    let (Ok(path), Ok(first)) = (env::var(PATH), env::var(FIRST)) else { return };
    let (file, seal) = (KeystoreFile::at(path), seal());
    let mut stdout = std::io::stdout();
    for number in first.parse().unwrap().. {
        write(&file, &seal, number);
        writeln!(stdout, "\nwritten {number}").unwrap();
        stdout.flush().unwrap();
    }
}

fn start_writer(path: &Path, first: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(PATH, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_kill_at_any_instant_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeystoreFile::at(folder.path().join("keys"));
    let mut contents = Contents::new();
    contents.create_key_store(&store(), 0, &mut SystemRandom).unwrap();
    file.create(&seal(), &contents).unwrap();

    let (mut next, mut rounds, mut unacknowledged) = (0, 0, 0);
    let mut typical = Duration::from_millis(5);
    while next < WRITES {
        rounds += 1;
        let mut child = start_writer(file.path(), next);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Kill after a few acknowledgements, at another fraction of a write's duration each round.
        let mut acknowledged = None;
        let mut next_acknowledgement = || {
            lines
                .by_ref()
                .find_map(|line| line.unwrap().strip_prefix("written ").map(|n| n.parse::<u32>().unwrap()))
        };
        for _ in 0..1 + rounds % 5 {
            let start = Instant::now();
            acknowledged = next_acknowledgement();
            typical = (typical + start.elapsed()).min(Duration::from_millis(200)) / 2;
        }
        let instant = Instant::now() + typical * (rounds * 37 % 100) / 100;
        while Instant::now() < instant {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(last) = next_acknowledgement() {
            acknowledged = Some(last);
        }

        let last = acknowledged.expect("at least one write");
        let opened = file.open(&seal()).unwrap();
        let keys = opened.contents.key_store("main").unwrap();
        let has = |number: u32| keys.key(&format!("k{number}")).is_some();
        // The write after the last acknowledged one may be there too, whole.
        let newest = if has(last + 1) { last + 1 } else { last };
        unacknowledged += newest - last;
        let expected = newest.saturating_sub(9)..=newest;
        assert!(expected.clone().all(has), "after write {last}");
        assert_eq!(keys.keys().len(), expected.count(), "after write {last}");
        let previous = KeystoreFile::at(file.previous_path()).open(&seal()).unwrap();
        assert!(previous.info.generation <= opened.info.generation);
        next = newest + 1;
    }
    println!("{next} writes, {rounds} kills, {unacknowledged} writes done and not acknowledged");
    assert!(rounds >= 20);
}
