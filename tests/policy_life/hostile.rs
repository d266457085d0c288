//! A hostile policy that passes every check and is activated fails closed, request by request.

use holdfast_tests::{Host, Operation, Reply, encrypt_body};
use serde_json::json;

use crate::artefact::misbehaving;
use crate::room::{activate, policy, setup, stage};

fn ask(host: &Host, what: &str) -> Reply {
    let mut body = encrypt_body("text");
    body["requestMetadata"]["kmsOperation"] = json!(what);
    host.client().call(Operation::Encrypt, "demo", body)
}

#[test]
fn an_activated_hostile_policy_fails_closed_and_can_be_taken_back_meanwhile() {
    let mut host = setup().start();
    let bad = misbehaving(host.scratch(), "bad", "reads-kms-operation");
    stage(&host, &bad);
    activate(&host, &bad);
    for what in ["trap", "loop", "recurse", "allocate", "large", "vast-lie", "not-utf8", "no-rule-of-its"] {
        ask(&host, &format!("hostile-{what}")).refused(500, "InternalException");
    }
    ask(&host, "hostile-allow-with-errors").refused(403, "AccessDeniedException");
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&host, "hostile-loop"))).collect();
        policy(&host, &["rollback"]);
        ask(&host, "hostile-loop").ok();
        for thread in loops {
            // Each was decided whole by one of the two.
            assert!([200, 500].contains(&thread.join().unwrap().status));
        }
    });
    host.assert_running();
}
