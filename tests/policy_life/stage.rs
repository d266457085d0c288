//! What is checked before a policy can go live. What fails leaves everything as it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::{Host, Operation, components, encrypt_body, hostile};
use serde_json::Value;
use toml::Table;

use crate::artefact::{Artefact, cedar, misbehaving, raw};
use crate::room::{activate, forbids, permits, policy, refused, setup, stage, standing};
use crate::signer::{Signer, signature_file, trusting};

/// It is refused with every part in the complaint; nothing is staged, and the host decides as before.
#[track_caller]
fn not_staged(host: &Host, artefact: &Artefact, parts: &[&str]) {
    let complaint = refused(host, &["stage", artefact.file.to_str().unwrap()]);
    for part in parts {
        assert!(complaint.contains(part), "{part:?} is not in: {complaint}");
    }
    let status = policy(host, &["status"]);
    assert_eq!(status["status"]["staged"], Value::Array(Vec::new()), "{complaint}");
    host.client().call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
}

#[test]
fn no_policy_that_is_not_one_is_staged() {
    let host = setup().start();
    let folder = host.scratch();
    not_staged(&host, &raw(folder, "text", b"not a component"), &["WebAssembly component"]);
    not_staged(&host, &raw(folder, "elf", b"\x7fELF and more"), &["compiled code"]);
    let whole = std::fs::read(cedar(folder, "whole", &permits("one"), "").file).unwrap();
    not_staged(&host, &raw(folder, "half", &whole[..whole.len() / 2]), &["damaged"]);
    let proxy = std::fs::read(components().join("proxy.wasm")).unwrap();
    not_staged(&host, &raw(folder, "proxy", &proxy), &["import", "holdfast:gate/types"]);
    let sigv4 = std::fs::read(components().join("sigv4.wasm")).unwrap();
    not_staged(&host, &raw(folder, "sigv4", &sigv4), &["holdfast:policy/policy"]);
    let imports = std::fs::read(hostile("imports")).unwrap();
    not_staged(&host, &raw(folder, "imports", &imports), &["import"]);
}

#[test]
fn no_policy_with_a_bad_document_or_failing_tests_is_staged() {
    let host = setup().start();
    let folder = host.scratch();
    let wrong = format!("{}permit (principal, action\n", permits("one"));
    not_staged(&host, &cedar(folder, "syntax", &wrong, ""), &["policy.cedar:2:"]);
    let failing =
        "[[case]]\nname = \"nobody may decrypt\"\nexpect = \"deny\"\nquery = { operation = \"Decrypt\" }\n";
    let complaint = ["1 of its own tests fail", "nobody may decrypt", "expected deny", "allow"];
    not_staged(&host, &cedar(folder, "failing", &permits("one"), failing), &complaint);
    let unreadable = "[[case]]\nname = 1\n";
    not_staged(&host, &cedar(folder, "unreadable", &permits("one"), unreadable), &["tests.toml"]);

    let passing =
        "[[case]]\nname = \"everyone may\"\nexpect = \"allow\"\nquery = { operation = \"Decrypt\" }\n";
    let staged = stage(&host, &cedar(folder, "passing", &permits("one"), passing));
    assert_eq!(staged["staged"]["checked"]["tests"], 1);
    assert_eq!(staged["staged"]["checked"]["uncovered_rules"], Value::Array(Vec::new()));
}

#[test]
fn a_policy_that_misbehaves_while_it_is_checked_is_not_staged() {
    let mut host = setup().start();
    for (document, complaint) in [
        ("configure-trap", "trap"),
        ("configure-loop", "time"),
        ("configure-recurse", "stack"),
        ("configure-allocate", "memory"),
        ("describe-trap", "trap"),
    ] {
        let artefact = misbehaving(host.scratch(), document, document);
        not_staged(&host, &artefact, &[complaint]);
    }
    host.assert_running();
    assert_eq!(standing(&host, "demo")["decides"], true);
}

#[test]
fn a_policy_that_nobody_signed_is_refused_unless_the_configuration_says_so() {
    let host = setup()
        .config(|config, _| {
            config.insert("policies".into(), Table::new().into());
        })
        .start();
    let artefact = cedar(host.scratch(), "one", &permits("one"), "");
    not_staged(&host, &artefact, &["isn't signed", "policy sign"]);
    let signature = signature_file(&artefact);
    std::fs::write(signature, "untrusted comment: x\nRWQ\ntrusted comment: y\nzzz\n").unwrap();
    not_staged(&host, &artefact, &["signature"]);
}

/// A copy of a signature that says it is by the key of another public key.
fn in_the_name_of(signature: &str, public: &str) -> String {
    let mut lines: Vec<String> = signature.lines().map(str::to_owned).collect();
    let (mut bytes, public) = (STANDARD.decode(&lines[1]).unwrap(), STANDARD.decode(public).unwrap());
    // Algorithm, key id, and the rest.
    bytes[2..10].copy_from_slice(&public[2..10]);
    lines[1] = STANDARD.encode(bytes);
    lines.join("\n") + "\n"
}

#[test]
fn a_signature_that_does_not_count_is_refused_and_the_active_policy_stays() {
    let [trusted, stranger] = [0, 1].map(|_| Signer::new());
    let host = trusting(&[&trusted]).start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    trusted.sign(&one);
    stage(&host, &one);
    activate(&host, &one);

    let two = cedar(host.scratch(), "two", &forbids("two"), "");
    let refused = |signature: &str, reason: &str| {
        std::fs::write(signature_file(&two), signature).unwrap();
        let complaint = refused(&host, &["stage", two.file.to_str().unwrap()]);
        assert!(complaint.contains(reason), "{reason:?} is not in: {complaint}");
        let staged = policy(&host, &["status"])["status"]["staged"].clone();
        assert_eq!(staged.as_array().unwrap().len(), 1, "{staged}");
        assert_eq!(standing(&host, "demo")["artefact"], one.digest.as_str());
        host.client().call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    };
    let strangers = stranger.signature(&two);
    refused(&strangers, "isn't trusted");
    refused(&in_the_name_of(&strangers, &trusted.public), "doesn't fit the file");
    refused(&trusted.signature(&one), "doesn't fit the file");
    trusted.sign(&two);
    stage(&host, &two);
}
