//! What a client may use: connections, time, memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_tests::{HandMade, Host, Operation, Raw, Setup, encrypt_body, wait_for};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A time limit of these tests.
const SHORT: &str = "400ms";
const SHORT_TIME: Duration = Duration::from_millis(400);
/// A bound that a machine with other work keeps too.
const SOON: Duration = Duration::from_secs(20);

fn signed(host: &Host) -> Vec<u8> {
    HandMade::new(host, "/keys/demo/encrypt", encrypt_body("a plaintext")).sign().bytes()
}

fn resident_kib(host: &Host) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Lets this process open as many files as it may; whether that is `wanted`.
fn may_open(wanted: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        println!("skipped: the hard limit of open files is {:?}, and {wanted} are needed", limit.maximum);
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok()
}

#[test]
fn t9_ten_thousand_idle_connections_disturb_no_signed_request() {
    const IDLE: usize = 10_000;
    if !may_open(IDLE as u64 + 500) {
        return;
    }
    let mut host = Setup::new().limit("connections", 11_000).limit("header_time", "60s").start();
    let mut client = host.client();
    client.call(Operation::Encrypt, "demo", encrypt_body("before")).ok();
    let before = resident_kib(&host);
    let stop = AtomicBool::new(false);
    let address = host.address();
    let (idle, served) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                client.call(Operation::Encrypt, "demo", encrypt_body("meanwhile")).ok();
                served += 1;
            }
            served
        });
        let mut idle = Vec::with_capacity(IDLE);
        for i in 0..IDLE {
            let mut stream = TcpStream::connect(address).unwrap();
            // Half of them have begun a head.
            if i % 2 == 0 {
                stream.write_all(b"POST /demo/kms").unwrap();
            }
            idle.push(stream);
        }
        wait_for("the host to have accepted all", || {
            (host.metric(&["holdfast_connections "]) as usize > IDLE).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        (idle, asking.join().unwrap())
    });
    assert!(served > 0);
    host.raw().exchange(signed(&host)).ok();
    let after = resident_kib(&host);
    println!(
        "{IDLE} idle connections: {served} requests meanwhile; VmRSS {before} KiB before, {after} KiB with them"
    );
    assert!(after.saturating_sub(before) < 24 * IDLE, "over 24 KiB a connection");
    assert_eq!(host.metric(&["holdfast_connections_evicted_total"]), 0);
    drop(idle);
    wait_for("the connections' end", || (host.metric(&["holdfast_connections "]) < 100).then_some(()));
    host.assert_running();
}

#[test]
fn t9_at_the_limit_the_oldest_idle_stranger_makes_room() {
    let host = Setup::new().limit("connections", 4).start();
    let mut strangers: Vec<Raw> = (0..4).map(|_| host.raw()).collect();
    wait_for("the host to have accepted them", || {
        (host.metric(&["holdfast_connections "]) == 4).then_some(())
    });
    let mut fifth = host.raw();
    fifth.exchange(signed(&host)).ok();
    let (took, rest) = strangers[0].until_closed();
    assert!(rest.is_empty() && took < SOON, "{took:?}");
    strangers[3].exchange(signed(&host)).ok();
    assert_eq!(host.metric(&["holdfast_connections_evicted_total"]), 1);
}

#[test]
fn t9_known_clients_keep_their_place_when_strangers_come() {
    let host = Setup::new().limit("connections", 4).start();
    let mut known: Vec<Raw> = (0..4).map(|_| host.raw()).collect();
    for raw in &mut known {
        raw.exchange(signed(&host)).ok();
    }
    for _ in 0..20 {
        let (took, rest) = host.raw().until_closed();
        assert!(rest.is_empty() && took < SOON, "{took:?}");
    }
    for raw in &mut known {
        raw.exchange(signed(&host)).ok();
    }
    assert_eq!(host.metric(&["holdfast_connections_turned_away_total"]), 20);
}

/// Waits until the host closes a connection on which nothing more is written.
fn patience(raw: &mut Raw) {
    let (took, rest) = raw.until_closed();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    assert!(took < SOON, "open for {took:?}");
}

#[test]
fn t9_half_open_heads_are_closed() {
    let host = Setup::new().limit("header_time", SHORT).start();
    let whole = signed(&host);
    for length in [0, 1, 20, whole.iter().position(|byte| *byte == b'{').unwrap() - 1] {
        let start = Instant::now();
        let mut raw = host.raw();
        raw.write(&whole[..length]);
        patience(&mut raw);
        assert!(start.elapsed() > SHORT_TIME * 9 / 10, "{length} bytes: closed after {:?}", start.elapsed());
    }
    // On a connection that is known already, too, at once or after it was idle.
    let (mut raw, mut idle) = (host.raw(), host.raw());
    raw.exchange(&whole).ok();
    idle.exchange(&whole).ok();
    raw.write(&whole[..20]);
    patience(&mut raw);
    idle.write(&whole[..20]);
    patience(&mut idle);
}

#[test]
fn t9_a_head_that_comes_byte_by_byte_is_closed_all_the_same() {
    let host = Setup::new().limit("header_time", SHORT).start();
    let mut stream = TcpStream::connect(host.address()).unwrap();
    // Waiting for an end that doesn't come is what paces the bytes.
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let start = Instant::now();
    for byte in b"POST /demo/kms/xks/v1/health HTTP/1.1\r\nx-slow: ".iter().chain([b'a'; 1000].iter()) {
        let closed = stream.write_all(&[*byte]).is_err()
            || match stream.read(&mut [0; 64]) {
                Ok(length) => length == 0,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
        if closed {
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            return;
        }
        assert!(start.elapsed() < SOON, "open for {:?}", start.elapsed());
    }
    panic!("never closed");
}

#[test]
fn t9_half_open_handshakes_are_closed() {
    let host = Setup::new().tls().limit("handshake_time", SHORT).start();
    for bytes in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let start = Instant::now();
        let mut raw = Raw::open_tcp(&host);
        raw.write(bytes);
        patience(&mut raw);
        assert!(start.elapsed() > SHORT_TIME * 9 / 10, "closed after {:?}", start.elapsed());
    }
    let mut plain = Raw::open_tcp(&host);
    plain.write("GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
    // What comes back, if anything, is a TLS alert.
    let (took, answer) = plain.until_closed();
    assert!(took < SOON && !answer.starts_with(b"HTTP"), "{took:?}");
    host.raw().exchange(signed(&host)).ok();
}

#[test]
fn t9_idle_connections_of_known_clients_are_closed_later_than_strangers() {
    let host = Setup::new().limit("header_time", "200ms").limit("idle_time", "1s").start();
    let mut known = host.raw();
    let start = Instant::now();
    known.exchange(signed(&host)).ok();
    patience(&mut host.raw());
    patience(&mut known);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(950), "a known client was closed after {took:?}");
}

#[test]
fn t9_bodies_that_never_come_hold_up_nobody_whose_body_comes() {
    const SILENT: usize = 1_100;
    if !may_open(SILENT as u64 + 500) {
        return;
    }
    let host = Setup::new().limit("header_time", "60s").start();
    let honest = signed(&host);
    let (head, body) = honest.split_at(honest.iter().position(|byte| *byte == b'{').unwrap());
    let mut known = host.raw();
    known.exchange(&honest).ok();
    known.write(head);
    wait_for("its head to be read", || (host.metric(&["holdfast_bodies_awaited"]) == 1).then_some(()));
    // Who knows the access key id, which is no secret, can write a head that passes whatever needs no body.
    let mut forged = HandMade::new(&host, "/keys/demo/encrypt", "x".repeat(100));
    forged.credential.secret = "A".repeat(43);
    let forged = forged.sign().bytes();
    // All are there before the first says anything: no wait is over before the last has begun.
    let mut silent: Vec<Raw> = (0..SILENT).map(|_| host.raw()).collect();
    for raw in &mut silent {
        raw.write(&forged[..forged.len() - 100]);
    }
    wait_for("all heads to be read", || {
        (host.metric(&["holdfast_bodies_given_up_total"]) as usize == SILENT + 1 - 1024).then_some(())
    });
    host.raw().exchange(&honest).ok();
    let mut stranger = host.raw();
    stranger.write(head);
    // As another packet, and after whatever else the host has to read.
    wait_for("the stranger's head to be read", || {
        (host.metric(&["holdfast_bodies_awaited"]) == 1024).then_some(())
    });
    stranger.write(body);
    stranger.reply().ok();
    // A client that was authenticated before isn't the one to make room, however long it takes.
    known.write(body);
    known.reply().ok();
    // The oldest of the others did.
    silent[0].reply().refused(429, "ThrottlingException");
    let (took, rest) = silent[0].until_closed();
    assert!(rest.is_empty() && took < SOON, "{took:?}");
}

#[test]
fn t9_refused_requests_leave_no_memory_behind() {
    const ROUNDS: usize = 300;
    let mut host = Setup::new().start();
    let good = signed(&host);
    let mut oversized = HandMade::new(&host, "/keys/demo/encrypt", "{}").sign();
    oversized.set("content-length", "60000000");
    let forged = String::from_utf8(good.clone()).unwrap().replace("Signature=", "Signature=0");
    let round = || {
        for bytes in [
            &oversized.head()[..],
            forged.as_bytes(),
            b"nonsense\r\n\r\n",
            b"POST /\r",
            &good[..good.len() - 9],
        ] {
            let mut raw = host.raw();
            raw.write(bytes);
            raw.end_writing();
            raw.until_closed();
        }
    };
    (0..ROUNDS).for_each(|_| round());
    let before = resident_kib(&host);
    (0..ROUNDS).for_each(|_| round());
    let after = resident_kib(&host);
    println!("{} bad requests more: VmRSS {before} KiB before, {after} KiB after", ROUNDS * 5);
    assert!(after < before + 4096, "{before} KiB grew to {after} KiB");
    host.assert_running();
    host.raw().exchange(good).ok();
}
