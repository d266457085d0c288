//! The certificate and the keystore's seal are replaced while the host runs.

use std::fs;
use std::path::Path;

use holdfast_tests::{HandMade, Host, Operation, Setup, encrypt_body, wait_for};

use crate::traffic::undisturbed;

fn signed(host: &Host) -> Vec<u8> {
    HandMade::new(host, "/keys/demo/encrypt", encrypt_body("text")).sign().bytes()
}

fn logged(host: &Host, text: &str) -> usize {
    host.log().lines().filter(|line| line.contains(text)).count()
}

/// Puts a file in another's place, as an atomic write does.
fn put(content: &[u8], path: &Path) {
    let temporary = path.with_extension("other");
    fs::write(&temporary, content).unwrap();
    fs::rename(temporary, path).unwrap();
}

#[test]
fn t3_a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let host = Setup::new().tls().start();
    let other = Setup::new().tls().start();
    let file = |host: &Host, name: &str| host.home().join("tls").join(name);
    let mut before = host.raw();
    before.exchange(signed(&host)).ok();
    // A certificate whose key never comes.
    let good = fs::read(file(&host, "server.pem")).unwrap();
    put(&fs::read(file(&other, "server.pem")).unwrap(), &file(&host, "server.pem"));
    wait_for("the refusal in the log", || (logged(&host, "TLS certificate is not used") > 0).then_some(()));
    host.raw().exchange(signed(&host)).ok();
    put(&good, &file(&host, "server.pem"));
    for name in ["server.pem", "server-key.pem", "ca.pem"] {
        put(&fs::read(file(&other, name)).unwrap(), &file(&host, name));
    }
    wait_for("the new certificate", || (logged(&host, "get the new TLS certificate") > 0).then_some(()));
    // Trusts nothing but the other CA by now.
    host.raw().exchange(signed(&host)).ok();
    before.exchange(signed(&host)).ok();
}

#[test]
fn a_keystore_that_is_sealed_anew_is_taken_up_once_the_seal_is_in_its_place() {
    let host = Setup::new().start();
    let (seal, new) = (host.home().join("keystore.seal"), host.home().join("new.seal"));
    undisturbed(&host, || {
        host.holdfast(&["keystore", "reseal", "--key-file", new.to_str().unwrap()]);
        wait_for("what to do in the log", || {
            (logged(&host, "was sealed anew") > 0 && logged(&host, "where keystore.seal says") > 0)
                .then_some(())
        });
        fs::rename(&new, &seal).unwrap();
        wait_for("the keystore to be taken up", || {
            (logged(&host, "the keystore changed and is in use") > 0).then_some(())
        });
        host.holdfast(&["key", "create", "after", "--key-store", "demo"]);
        wait_for("the key that came after", || {
            let reply = host.client().call(Operation::Encrypt, "after", encrypt_body("text"));
            (reply.status == 200).then_some(())
        });
    });
}
