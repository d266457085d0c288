//! Checklist O10: policy on requestMetadata, path and access key id.

use holdfast_tests::{Host, Operation, Reply, encrypt_body, metadata_body};
use serde_json::{Value, json};

use crate::setup;

/// Forbids what each condition says, by a rule of that name, and permits all else.
fn forbidding(rules: &[(&str, &str)]) -> Host {
    let mut policy = holdfast_tests::PERMIT_ALL.to_owned();
    for (name, condition) in rules {
        policy += &format!("@id({name:?}) forbid (principal, action, resource) when {{ {condition} }};\n");
    }
    setup().policy(&policy).key("other", "encrypt,decrypt").start()
}

fn encrypt(host: &Host, key: &str, body: &Value) -> Reply {
    host.client().call(Operation::Encrypt, key, body)
}

/// Denied, and the record names the rule.
#[track_caller]
fn denied(host: &Host, rule: &str, key: &str, body: &Value) {
    let reply = encrypt(host, key, body);
    reply.refused(403, "AccessDeniedException");
    assert!(!reply.text().contains(rule), "the rules are for the log only");
    let record = host.wait_for_record(body["requestMetadata"]["kmsRequestId"].as_str().unwrap());
    assert_eq!(record["policy"]["effect"], "deny");
    assert_eq!(record["policy"]["rules"], json!([rule]));
    assert_eq!((&record["status"], &record["errorName"]), (&json!(403), &json!("AccessDeniedException")));
}

#[test]
fn o10_a_request_is_denied_by_its_metadata() {
    let cases = [
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
    ];
    let host = forbidding(&cases.map(|(condition, field, ..)| (field, condition)));
    for (_, field, bad, good) in cases {
        let with = |value: &str| {
            let mut body = encrypt_body("attack at dawn");
            body["requestMetadata"][field] = json!(value);
            body
        };
        denied(&host, field, "demo", &with(bad));
        encrypt(&host, "demo", &with(good)).ok();
    }
}

#[test]
fn o10_a_request_is_denied_by_its_path() {
    let host = forbidding(&[("no-other", "resource == Key::\"other\" && action == Action::\"Encrypt\"")]);
    denied(&host, "no-other", "other", &encrypt_body("attack at dawn"));
    encrypt(&host, "demo", &encrypt_body("attack at dawn")).ok();
    host.client().call(Operation::Metadata, "other", metadata_body("DescribeKey")).ok();
    if let Some(reply) = host.curl("/keys/other/encrypt", encrypt_body("x"), &[]) {
        reply.refused(403, "AccessDeniedException");
    }
}

#[test]
fn o10_a_request_is_denied_by_its_access_key_id() {
    let mut host = setup().start();
    encrypt(&host, "demo", &encrypt_body("attack at dawn")).ok();
    let id = &host.credential().access_key_id;
    let forbid = "@id(\"not-this-one\") forbid (principal, action, resource)";
    let policy =
        format!("{forbid} when {{ context.accessKeyId == \"{id}\" }};\n{}", holdfast_tests::PERMIT_ALL);
    std::fs::write(host.home().join("policy.cedar"), policy).unwrap();
    host.restart();
    denied(&host, "not-this-one", "demo", &encrypt_body("attack at dawn"));
}

#[test]
fn o10_without_a_rule_or_without_a_policy_everything_is_denied() {
    let nothing = setup().policy("// no rules\n").start();
    encrypt(&nothing, "demo", &encrypt_body("x")).refused(403, "AccessDeniedException");
    if crate::differs("without a policy spin-env refuses") {
        return;
    }
    let none = setup()
        .config(|config, _| {
            let store = config["key_store"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
            store.remove("policy");
        })
        .start();
    for operation in [Operation::Metadata, Operation::Encrypt] {
        none.client().call(operation, "demo", encrypt_body("x")).refused(403, "AccessDeniedException");
    }
}
