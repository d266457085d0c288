//! SIGTERM: what was accepted is answered.

use holdfast_tests::{HandMade, Host, PATIENCE, Raw, Reply, Setup, encrypt_body, wait_for};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn signed(host: &Host) -> Vec<u8> {
    HandMade::new(host, "/keys/demo/encrypt", encrypt_body("a plaintext")).sign().bytes()
}

/// One client of many: asks until the host says that the connection closes, or closes it. Counts the answers, and the
/// requests that were sent before the stop and not answered.
struct Tally {
    answered: AtomicUsize,
    broken: AtomicUsize,
}

fn ask_until_closed(host: &Host, tally: &Tally, stopping: &AtomicBool) {
    let mut raw = host.raw();
    loop {
        let request = signed(host);
        let before_the_stop = !stopping.load(Ordering::SeqCst);
        let sent = raw.try_write(&request).is_ok();
        let before_the_stop = before_the_stop && !stopping.load(Ordering::SeqCst);
        let reply = if sent { raw.next_reply() } else { None };
        match reply {
            Some(reply) => {
                reply.ok();
                tally.answered.fetch_add(1, Ordering::SeqCst);
                if reply.header("connection") == Some("close") {
                    return;
                }
            }
            None => {
                if before_the_stop {
                    tally.broken.fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
        }
    }
}

fn sigterm_breaks_nothing(setup: Setup) {
    let mut host = setup.start();
    let tally = Tally { answered: AtomicUsize::new(0), broken: AtomicUsize::new(0) };
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| ask_until_closed(&host, &tally, &stopping));
        }
        wait_for("requests to be served", || (tally.answered.load(Ordering::SeqCst) > 200).then_some(()));
        stopping.store(true, Ordering::SeqCst);
        host.terminate();
    });
    let answered = tally.answered.into_inner();
    assert_eq!(tally.broken.into_inner(), 0, "of {answered}");
    let status = host.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(
        host.audit_records().len(),
        answered,
        "each answer has its record, and each record its answer"
    );
    assert!(host.log().contains("stopped"), "{}", host.log());
}

#[test]
fn sigterm_breaks_no_request_of_sixteen_clients() {
    sigterm_breaks_nothing(Setup::new());
}

#[test]
fn sigterm_breaks_no_request_of_sixteen_clients_over_tls() {
    sigterm_breaks_nothing(Setup::new().tls());
}

#[test]
fn a_request_whose_body_is_under_way_at_the_stop_is_answered() {
    let mut host = Setup::new().start();
    let request = signed(&host);
    let (first, rest) = request.split_at(request.len() - 10);
    let mut raw = host.raw();
    raw.write(first);
    // Served one after the other on this connection's side, so the head of the first has been read by now.
    wait_for("the connection", || (host.metric(&["holdfast_connections "]) == 1).then_some(()));
    host.raw().exchange(signed(&host)).ok();
    host.terminate();
    wait_for("the stop to begin", || host.log().contains("SIGTERM").then_some(()));
    wait_for("the port to close", || std::net::TcpStream::connect(host.address()).is_err().then_some(()));
    raw.write(rest);
    let reply = raw.reply();
    reply.ok();
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(host.wait().code(), Some(0));
    assert_eq!(host.audit_records().len(), 2);
}

/// What is in the socket when the signal comes is as good as accepted: the host is stopped (SIGSTOP) while the requests
/// and the signal are sent, so that none is read before the stop.
#[test]
fn requests_that_arrived_and_were_not_read_before_the_stop_are_answered() {
    let mut host = Setup::new().start();
    let mut kept: Vec<Raw> = (0..8).map(|_| host.raw()).collect();
    for raw in &mut kept {
        raw.exchange(signed(&host)).ok();
    }
    host.signal(Signal::STOP);
    let request = signed(&host);
    for raw in &mut kept {
        raw.write(&request);
    }
    let mut queued: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(host.address()).unwrap()).collect();
    for stream in &mut queued {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request).unwrap();
    }
    host.terminate();
    host.signal(Signal::CONT);
    for raw in &mut kept {
        raw.reply().ok();
    }
    for stream in &mut queued {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let (reply, _) = Reply::parse(&answer).expect("an answer to a connection in the listen queue");
        reply.ok();
    }
    assert_eq!(host.wait().code(), Some(0));
    assert_eq!(host.audit_records().len(), 24);
}

#[test]
fn idle_connections_do_not_hold_a_stop_up() {
    // Neither their own idleness nor the end of the drain time closes them while the test waits.
    let limits = [("header_time", "60s"), ("idle_time", "10m"), ("drain_time", "10m")];
    let setup = limits.into_iter().fold(Setup::new(), |setup, (name, time)| setup.limit(name, time));
    let mut host = setup.start();
    let idle: Vec<Raw> = (0..20).map(|_| host.raw()).collect();
    let mut known = host.raw();
    known.exchange(signed(&host)).ok();
    wait_for("the connections", || (host.metric(&["holdfast_connections "]) == 21).then_some(()));
    host.signal(Signal::INT);
    assert_eq!(host.wait().code(), Some(0));
    assert!(!host.log().contains("drain time"), "{}", host.log());
    drop(idle);
}

#[test]
fn the_drain_time_bounds_a_stop() {
    let mut host = Setup::new().limit("drain_time", "300ms").start();
    let request = signed(&host);
    let mut raw = host.raw();
    raw.write(&request[..request.len() - 1]);
    host.raw().exchange(signed(&host)).ok();
    host.terminate();
    assert_eq!(host.wait().code(), Some(0));
    // It is logged only where requests were still open, so the body that never came wasn't waited for.
    assert!(host.log().contains("drain time"), "{}", host.log());
}
