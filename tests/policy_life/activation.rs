//! Activations while requests go on.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_tests::{Client, Host, Operation, Reply, encrypt_body, request_id, wait_for};
use serde_json::{Value, json};

use crate::artefact::cedar;
use crate::room::{activate, forbids, history, permits, policy, refused, setup, stage, standing};

fn ask(client: &mut Client) -> (String, Reply) {
    let id = request_id();
    let mut body = encrypt_body("meanwhile");
    body["requestMetadata"]["kmsRequestId"] = json!(id);
    let reply = client.call(Operation::Encrypt, "demo", body);
    (id, reply)
}

/// Ends the traffic, also where the test fails meanwhile.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The record of one request of its own.
fn decided(host: &Host) -> Value {
    let (id, _) = ask(&mut host.client());
    host.wait_for_record(&id)["policy"].clone()
}

#[test]
fn a_policy_is_staged_activated_and_taken_back_and_a_restart_changes_nothing() {
    let mut host = setup().start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    let two = cedar(host.scratch(), "two", &forbids("two"), "");
    assert_eq!(decided(&host)["rules"], json!(["permit-all"]));
    stage(&host, &one);
    assert_eq!(decided(&host)["rules"], json!(["permit-all"]), "what is staged doesn't decide");
    assert_eq!(activate(&host, &one), 1);
    let policy_of = decided(&host);
    assert_eq!(policy_of["rules"], json!(["one"]));
    assert_eq!((&policy_of["artefact"], &policy_of["activation"]), (&json!(one.digest), &json!(1)));
    host.restart();
    assert_eq!(decided(&host)["artefact"], one.digest.as_str(), "after a restart");

    stage(&host, &two);
    let done = policy(&host, &["activate", "two@1", "--key-store", "demo"]);
    assert_eq!(done["activated"]["changes"][0]["activation"], 2, "by its name and version");
    ask(&mut host.client()).1.refused(403, "AccessDeniedException");
    policy(&host, &["rollback"]);
    assert_eq!(decided(&host)["rules"], json!(["one"]));
    // Again, as one does whose answer was lost: nothing goes forward to what was left.
    for again in [&["rollback"][..], &["rollback", "--from", "2"]] {
        let kept = policy(&host, again)["activated"]["kept"][0]["why"].clone();
        assert!(kept.as_str().unwrap().contains("already"), "{kept}");
        assert_eq!(decided(&host)["rules"], json!(["one"]));
    }
    assert!(refused(&host, &["rollback", "--from", "1"]).contains("3 is"));
    policy(&host, &["rollback", "--to", "2"]);
    ask(&mut host.client()).1.refused(403, "AccessDeniedException");
    host.restart();
    ask(&mut host.client()).1.refused(403, "AccessDeniedException");
    let file = host.home().join("policy.cedar");
    let configured = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "permit (principal, action, resource").unwrap();
    assert!(refused(&host, &["rollback", "--to", "0"]).contains("the configuration's policy"));
    std::fs::write(&file, configured).unwrap();
    let back = policy(&host, &["rollback", "--to", "0"]);
    assert_eq!(decided(&host)["rules"], json!(["permit-all"]), "the configuration's");
    let number = &back["activated"]["changes"][0]["activation"];
    assert_eq!((number, &standing(&host, "demo")["activation"]), (&json!(5), &json!(5)), "one number for it");
    host.restart();
    assert_eq!(decided(&host)["rules"], json!(["permit-all"]));

    let causes: Vec<Value> = history(&host).iter().map(|activation| activation["cause"].clone()).collect();
    assert_eq!(json!(causes), json!(["activate", "activate", "rollback", "rollback", "rollback"]));
    let changes: Vec<Value> =
        host.audit_records().into_iter().filter(|record| record["type"] == "policy-change").collect();
    assert_eq!(changes.len(), 5);
    assert_eq!((&changes[0]["artefact"], &changes[0]["cause"]), (&json!(one.digest), &json!("activate")));
    assert!(changes[0]["by"].as_str().unwrap().starts_with("uid "));
}

#[test]
fn activations_under_traffic_fail_no_request_and_each_is_decided_by_one_of_the_two() {
    let host = setup().start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    let two = cedar(host.scratch(), "two", &forbids("two"), "");
    stage(&host, &one);
    stage(&host, &two);
    activate(&host, &one);
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let replies = std::thread::scope(|scope| {
        let traffic = [0, 1].map(|_| {
            scope.spawn(|| {
                let (mut client, mut replies) = (host.client(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let (id, reply) = ask(&mut client);
                    replies.push((id, reply.status));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                replies
            })
        });
        let ending = Stop(&stop);
        for round in 0..20 {
            let enough = asked.load(Ordering::Relaxed) + 4;
            wait_for("requests between two activations", || {
                let over = traffic.iter().any(std::thread::ScopedJoinHandle::is_finished);
                (over || asked.load(Ordering::Relaxed) >= enough).then_some(())
            });
            activate(&host, if round % 2 == 0 { &two } else { &one });
        }
        drop(ending);
        traffic.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let records = host.audit_records();
    let mut seen = [0, 0];
    for (id, status) in replies {
        let record =
            records.iter().find(|record| record["requestMetadata"]["kmsRequestId"] == id.as_str()).unwrap();
        let policy = &record["policy"];
        let by_one = policy["artefact"] == one.digest.as_str();
        let (rule, expected) = if by_one { ("one", 200) } else { ("two", 403) };
        assert_eq!((&policy["rules"], status), (&json!([rule]), expected), "{record}");
        // Odd activations are of the first policy.
        assert_eq!(policy["activation"].as_u64().unwrap() % 2 == 1, by_one, "{record}");
        seen[usize::from(by_one)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn several_key_stores_change_together_or_one_alone() {
    let host = setup().key_store("second", "/second").start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    stage(&host, &one);
    let complaint = refused(&host, &["activate", &one.digest]);
    assert!(complaint.contains("--key-store") && complaint.contains("demo, second"), "{complaint}");
    assert!(refused(&host, &["activate", &one.digest, "--key-store", "third"]).contains("third"));
    activate(&host, &one);
    assert_eq!(standing(&host, "demo")["artefact"], one.digest.as_str());
    assert_eq!(standing(&host, "second")["artefact"], Value::Null);
    let done = policy(&host, &["activate", &one.digest[..10], "--all"]);
    assert_eq!(done["activated"]["changes"].as_array().unwrap().len(), 2);
    assert_eq!(standing(&host, "second")["activation"], 1);
    assert_eq!(standing(&host, "demo")["activation"], 2);
}

#[test]
fn a_change_that_cannot_be_written_is_not_made_and_the_audit_log_says_so() {
    let host = setup().key_store("second", "/second").start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    stage(&host, &one);
    let folder = host.home().join("policies");
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let complaint = refused(&host, &["activate", &one.digest, "--all"]);
    mode(0o700);
    assert!(complaint.contains("mode 0700"), "{complaint}");
    assert_eq!(decided(&host)["rules"], json!(["permit-all"]));
    let of_type = |name: &str| {
        let records = host.audit_records().into_iter().filter(|record| record["type"] == name);
        records.collect::<Vec<_>>()
    };
    let (told, taken_back) = (of_type("policy-change"), of_type("policy-change-not-made"));
    assert_eq!((told.len(), taken_back.len()), (2, 2));
    for (told, taken_back) in told.iter().zip(&taken_back) {
        for field in ["keyStore", "activation", "artefact", "cause", "by"] {
            assert_eq!(told[field], taken_back[field], "{field}");
        }
        assert!(taken_back["reason"].as_str().unwrap().contains("mode 0700"), "{taken_back}");
    }
    assert_eq!(activate(&host, &one), 1);
}

#[test]
fn what_is_not_staged_is_not_activated() {
    let host = setup().start();
    let complaint = refused(&host, &["activate", &"0".repeat(64), "--key-store", "demo"]);
    assert!(complaint.contains("no staged policy"), "{complaint}");
    let complaint = refused(&host, &["rollback"]);
    assert!(complaint.contains("no earlier policy"), "{complaint}");
}
