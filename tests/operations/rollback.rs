//! The keystore's file is replaced by something else than a newer state: the state in use stays in use.

use std::fs;

use holdfast_tests::{Host, Operation, Setup, encrypt_body, wait_for};

use crate::traffic::undisturbed;

/// Puts `content` in the file's place, as an atomic write does.
fn put(host: &Host, content: &[u8]) {
    let path = host.home().join("keystore.holdfast");
    let temporary = host.home().join("keystore.other");
    fs::write(&temporary, content).unwrap();
    fs::rename(&temporary, &path).unwrap();
}

fn keystore(host: &Host) -> Vec<u8> {
    fs::read(host.home().join("keystore.holdfast")).unwrap()
}

/// Waits for one more refusal in the log than `before`; its line.
#[track_caller]
fn refusal(host: &Host, before: usize) -> String {
    let refusals = || {
        host.log()
            .lines()
            .filter(|line| line.contains("the state before is in use"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    wait_for("the refusal in the log", || refusals().get(before).cloned())
}

#[track_caller]
fn serves(host: &Host, key: &str) {
    host.client().call(Operation::Encrypt, key, encrypt_body("text")).ok();
}

#[test]
fn an_old_copy_of_the_keystore_is_refused_by_a_running_host() {
    let host = Setup::new().start();
    let old = keystore(&host);
    host.holdfast(&["key", "create", "new", "--key-store", "demo"]);
    wait_for("the new key", || {
        (host.client().call(Operation::Encrypt, "new", encrypt_body("text")).status == 200).then_some(())
    });
    let new = keystore(&host);
    undisturbed(&host, || {
        put(&host, &old);
        let line = refusal(&host, 0);
        assert!(line.contains("ERROR") && line.contains("keystore.holdfast"), "{line}");
        serves(&host, "new");
        put(&host, &new);
        // The host is at this state already; the next change shows that it still follows the file.
        host.holdfast(&["key", "create", "newer", "--key-store", "demo"]);
        wait_for("the newer key", || {
            (host.client().call(Operation::Encrypt, "newer", encrypt_body("text")).status == 200)
                .then_some(())
        });
    });
}

#[test]
fn a_damaged_missing_or_foreign_keystore_is_refused_by_a_running_host() {
    let host = Setup::new().start();
    let other = Setup::new().start();
    let good = keystore(&host);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    undisturbed(&host, || {
        for (refused, content) in
            [flipped, good[..good.len() / 2].to_vec(), Vec::new(), keystore(&other)].iter().enumerate()
        {
            put(&host, content);
            let line = refusal(&host, refused);
            assert!(line.contains("keystore.holdfast"), "{line}");
            serves(&host, "demo");
        }
        fs::remove_file(host.home().join("keystore.holdfast")).unwrap();
        serves(&host, "demo");
        put(&host, &good);
        serves(&host, "demo");
    });
    assert!(!host.log().contains("panicked"), "{}", host.log());
}
