//! A policy sees the same facts as in the native host, and says the same to who is denied.

use holdfast_tests::{Host, Operation, PERMIT_ALL, Setup, decrypt_body, encrypt_body};
use serde_json::json;

use crate::program;

fn setup(rules: &str, options: &[&str]) -> Setup {
    Setup::new().policy(&format!("{rules}{PERMIT_ALL}")).spin(program(), options)
}

fn encrypted(host: &Host) -> serde_json::Value {
    host.client().call(Operation::Encrypt, "demo", encrypt_body("x")).ok()
}

/// Counts live as long as an instance: docs/spin.md.
#[test]
fn decrypts_of_an_instance_are_counted() {
    let rule = "@id(\"mass\") @deny_message(\"Too many.\") \
                forbid (principal, action, resource) when { context.decrypts.keyMinute > 3 };\n";
    let host = setup(rule, &["--max-instance-reuse-count", "1000000"]).start();
    let body = decrypt_body(&encrypted(&host));
    let mut client = host.client();
    for _ in 0..3 {
        client.call(Operation::Decrypt, "demo", &body).ok();
    }
    let reply = client.call(Operation::Decrypt, "demo", &body);
    reply.refused(403, "AccessDeniedException");
    assert_eq!(reply.json()["errorMessage"], "Too many.");
    let record = host.audit_records().pop().unwrap();
    assert_eq!(record["decrypts"], json!([4, 4, 4, 4]));
    assert_eq!(
        (&record["policy"]["rules"], &record["policy"]["message"]),
        (&json!(["mass"]), &json!("Too many."))
    );
}

#[test]
fn a_fresh_instance_has_counted_nothing() {
    let rule = "forbid (principal, action, resource) when { context.decrypts.keyMinute > 1 };\n";
    let host = setup(rule, &["--max-instance-reuse-count", "1"]).start();
    let body = decrypt_body(&encrypted(&host));
    for _ in 0..3 {
        host.client().call(Operation::Decrypt, "demo", &body).ok();
    }
}

#[test]
fn the_clock_is_the_hosts() {
    let rule = "@id(\"never\") forbid (principal, action, resource) \
                when { context.clock.weekday < 1 || context.clock.weekday > 7 || context.clock.hour > 23 };\n\
                @id(\"always\") forbid (principal, action == Action::\"Decrypt\", resource) \
                when { context.clock.weekday >= 1 };\n";
    let host = setup(rule, &[]).start();
    let body = decrypt_body(&encrypted(&host));
    host.client().call(Operation::Decrypt, "demo", &body).refused(403, "AccessDeniedException");
    let record = host.audit_records().pop().unwrap();
    assert_eq!(record["policy"]["rules"], json!(["always"]));
}
