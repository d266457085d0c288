//! A kill at any instant: after the restart a policy that was activated is in force, and no acknowledged change is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_tests::{Operation, encrypt_body};
use rustix::process::Signal;

use crate::artefact::cedar;
use crate::room::{history, permits, policy, setup, stage, standing, try_policy};

#[test]
fn a_kill_at_any_instant_loses_no_acknowledged_activation() {
    let mut host = setup().start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    let two = cedar(host.scratch(), "two", &permits("two"), "");
    stage(&host, &one);
    stage(&host, &two);
    let acknowledged = AtomicU64::new(0);
    for round in 0..8u64 {
        std::thread::scope(|scope| {
            let activating = scope.spawn(|| {
                // Until the host is gone.
                for artefact in [&one, &two].into_iter().cycle() {
                    let done = try_policy(&host, &["activate", &artefact.digest]);
                    if !done.status.success() {
                        return;
                    }
                    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
                    let number = done["activated"]["changes"][0]["activation"].as_u64().unwrap();
                    acknowledged.fetch_max(number, Ordering::Relaxed);
                }
            });
            // Not to wait for something: at another instant each time.
            std::thread::sleep(Duration::from_millis(150 + 37 * round));
            host.signal(Signal::KILL);
            activating.join().unwrap();
        });
        host.wait();
        host.start_again();
        host.client().call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
        let (history, standing) = (history(&host), standing(&host, "demo"));
        let known = acknowledged.load(Ordering::Relaxed);
        let last = history.last().map_or(0, |last| last["number"].as_u64().unwrap());
        assert!(last >= known, "{known} were acknowledged, {last} are known");
        assert_eq!(standing["activation"], last);
        assert_eq!(standing["decides"], true);
        let numbers: Vec<u64> = history.iter().map(|a| a["number"].as_u64().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
    assert!(acknowledged.load(Ordering::Relaxed) > 0);
    policy(&host, &["activate", &one.digest]);
}
