//! Requests that nobody thought of: proper ones, mutated; and bytes at random.
//!
//! The same cases on each run. `PROPTEST_CASES` makes it more of them, `HOLDFAST_FUZZ=random` other ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use holdfast_tests::{PATIENCE, Reply};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::watched::Watched;

const CASES: u32 = 300;
const LIMIT: Duration = Duration::from_secs(20);

/// One change of a request; positions are per mille of its length.
#[derive(Clone, Debug)]
enum Change {
    Insert(u16, Vec<u8>),
    Overwrite(u16, Vec<u8>),
    Remove(u16, u16),
    Repeat(u16, u16),
    Cut(u16),
}

const PIECES: [&[u8]; 28] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"%2f",
    b"/../",
    b"//",
    b"?",
    b"#",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"\\ud800",
    b"\xff",
    b"\xed\xa0\x80",
    b"\r\ntransfer-encoding: chunked",
    b"\r\ncontent-length: 0",
    b"\r\ncontent-length: 99999999999",
    b"\r\nexpect: 100-continue",
    b"\r\nhost: a",
    b"\r\nauthorization: AWS4-HMAC-SHA256 ",
    b"0\r\n\r\n",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(PIECES.as_slice()).prop_map(<[u8]>::to_vec),
        2 => prop::collection::vec(any::<u8>(), 1..8),
        1 => (any::<u8>(), prop::sample::select(vec![300_usize, 9_000, 70_000])).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = || 0..1000_u16;
    prop_oneof![
        4 => (at(), piece()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        3 => (at(), piece()).prop_map(|(at, piece)| Change::Overwrite(at, piece)),
        2 => (at(), 1..200_u16).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (at(), 1..400_u16).prop_map(|(at, length)| Change::Repeat(at, length)),
        1 => at().prop_map(Change::Cut),
    ]
}

fn case() -> impl Strategy<Value = (bool, Vec<Change>)> {
    (prop::bool::weighted(0.9), prop::collection::vec(change(), 1..5))
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: u16| usize::from(at) * bytes.len() / 1000;
        let range = |at: u16, length: u16| place(at)..(place(at) + usize::from(length)).min(bytes.len());
        match change {
            Change::Insert(at, piece) => {
                let at = place(*at);
                bytes.splice(at..at, piece.iter().copied());
            }
            Change::Overwrite(at, piece) => {
                let start = place(*at);
                let end = (start + piece.len()).min(bytes.len());
                bytes.splice(start..end, piece.iter().copied());
            }
            Change::Remove(at, length) => drop(bytes.drain(range(*at, *length))),
            Change::Repeat(at, length) => {
                let range = range(*at, *length);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            Change::Cut(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}

/// All that comes back until the host closes.
fn answers(watched: &Watched, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(watched.host.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Refusals come before the whole request is read; then writing fails, and so be it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("no end within {PATIENCE:?}: {error}")
        }
        _ => answers,
    }
}

#[test]
fn t8_every_generated_request_is_answered_or_its_connection_closed() {
    let watched = Watched::patient();
    let mut watched = watched;
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = if std::env::var("HOLDFAST_FUZZ").is_ok_and(|value| value == "random") {
        TestRunner::new(config)
    } else {
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let statuses = std::cell::RefCell::new(std::collections::BTreeMap::<u16, usize>::new());
    let outcome = runner.run(&case(), |(proper, changes)| {
        let start = if proper { watched.encrypt().bytes() } else { b"\r\n\r\n".to_vec() };
        let bytes = apply(start, &changes);
        let begun = Instant::now();
        let received = answers(&watched, &bytes);
        prop_assert!(begun.elapsed() < LIMIT, "took {:?}", begun.elapsed());
        let mut rest = received.as_slice();
        while let Some((reply, end)) = Reply::parse(rest) {
            *statuses.borrow_mut().entry(reply.status).or_default() += 1;
            let is_head = bytes.windows(5).any(|window| window == b"HEAD ");
            if reply.status != 200 && !is_head {
                let name = reply.json()["errorName"].as_str().unwrap_or_default().to_owned();
                prop_assert!(name.ends_with("Exception"), "{reply:?}");
            }
            rest = &rest[end..];
        }
        prop_assert!(rest.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(rest));
        Ok(())
    });
    println!("{cases} cases; answers by status: {:?}", statuses.borrow());
    outcome.unwrap();
    assert!(!statuses.borrow().contains_key(&500), "{:?}", statuses.borrow());
    watched.case("a good one, at the end", &watched.encrypt().bytes(), &[crate::watched::Expect::Works]);
    watched.is_unharmed();
}
