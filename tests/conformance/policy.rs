//! Checklist O10: policy on requestMetadata, path and access key id.

use holdfast_tests::{Host, Operation, Reply, Setup, encrypt_body, metadata_body};
use serde_json::{Value, json};

/// Forbids by one rule what `condition` says, and permits all else.
fn forbidding(condition: &str) -> Host {
    let forbid = format!("@id(\"the-rule\") forbid (principal, action, resource) when {{ {condition} }};\n");
    Setup::new().policy(&(forbid + holdfast_tests::PERMIT_ALL)).key("other", "encrypt,decrypt").start()
}

fn encrypt(host: &Host, key: &str, body: &Value) -> Reply {
    host.client().call(Operation::Encrypt, key, body)
}

/// Denied, and the record names the rule.
#[track_caller]
fn denied(host: &Host, key: &str, body: &Value) {
    let reply = encrypt(host, key, body);
    reply.refused(403, "AccessDeniedException");
    assert!(!reply.text().contains("the-rule"), "the rules are for the log only");
    let record = host.wait_for_record(body["requestMetadata"]["kmsRequestId"].as_str().unwrap());
    assert_eq!(record["policy"]["effect"], "deny");
    assert_eq!(record["policy"]["rules"], json!(["the-rule"]));
    assert_eq!((&record["status"], &record["errorName"]), (&json!(403), &json!("AccessDeniedException")));
}

#[test]
fn o10_a_request_is_denied_by_its_metadata() {
    for (condition, field, bad, good) in [
        ("context has viaService && context.viaService == \"s3\"", "kmsViaService", "s3", "ebs"),
        ("context has sourceVpc && context.sourceVpc == \"vpc-bad\"", "awsSourceVpc", "vpc-bad", "vpc-good"),
        (
            "context has sourceVpce && context.sourceVpce == \"vpce-bad\"",
            "awsSourceVpce",
            "vpce-bad",
            "vpce-good",
        ),
        ("context.kmsOperation == \"ReEncrypt\"", "kmsOperation", "ReEncrypt", "GenerateDataKey"),
        (
            "principal in Account::\"666666666666\"",
            "awsPrincipalArn",
            "arn:aws-cn:sts::666666666666:assumed-role/Name/Session",
            "arn:aws-cn:sts::123456789012:assumed-role/Name/Session",
        ),
        (
            "context has kmsKey && context.kmsKey.account == \"666666666666\"",
            "kmsKeyArn",
            "arn:aws:kms:us-east-1:666666666666:key/1",
            "arn:aws:kms:us-east-1:123456789012:key/1",
        ),
    ] {
        let host = forbidding(condition);
        let with = |value: &str| {
            let mut body = encrypt_body("attack at dawn");
            body["requestMetadata"][field] = json!(value);
            body
        };
        denied(&host, "demo", &with(bad));
        encrypt(&host, "demo", &with(good)).ok();
    }
}

#[test]
fn o10_a_request_is_denied_by_its_path() {
    let host = forbidding("resource == Key::\"other\" && action == Action::\"Encrypt\"");
    denied(&host, "other", &encrypt_body("attack at dawn"));
    encrypt(&host, "demo", &encrypt_body("attack at dawn")).ok();
    host.client().call(Operation::Metadata, "other", metadata_body("DescribeKey")).ok();
    if let Some(reply) = host.curl("/keys/other/encrypt", encrypt_body("x"), &[]) {
        reply.refused(403, "AccessDeniedException");
    }
}

#[test]
fn o10_a_request_is_denied_by_its_access_key_id() {
    let mut host = forbidding("false");
    encrypt(&host, "demo", &encrypt_body("attack at dawn")).ok();
    let id = &host.credential().access_key_id;
    let policy = format!(
        "@id(\"the-rule\") forbid (principal, action, resource) when {{ context.accessKeyId == \"{id}\" }};\n{}",
        holdfast_tests::PERMIT_ALL
    );
    std::fs::write(host.home().join("policy.cedar"), policy).unwrap();
    host.restart();
    denied(&host, "demo", &encrypt_body("attack at dawn"));
}

#[test]
fn o10_without_a_rule_or_without_a_policy_everything_is_denied() {
    let nothing = Setup::new().policy("// no rules\n").start();
    encrypt(&nothing, "demo", &encrypt_body("x")).refused(403, "AccessDeniedException");
    let none = Setup::new()
        .config(|config, _| {
            let store = config["key_store"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
            store.remove("policy");
        })
        .start();
    for operation in [Operation::Metadata, Operation::Encrypt] {
        none.client().call(operation, "demo", encrypt_body("x")).refused(403, "AccessDeniedException");
    }
}
