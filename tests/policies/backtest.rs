//! Recorded requests, decided by another policy.

use holdfast_tests::Folder;

fn record(number: usize, operation: &str, principal: &str, key: &str, effect: &str, rules: &str) -> String {
    format!(
        r#"{{"schema":1,"time":"2026-03-01T00:00:00.000Z","keyStore":"demo","accessKeyId":"A","operation":"{operation}","keyId":"{key}","policyTime":{time},"client":"127.0.0.1:1","requestMetadata":{{"awsPrincipalArn":"{principal}","kmsOperation":"{operation}","kmsRequestId":"r-{number}","kmsViaService":"ebs"}},"decrypts":[1,1,1,1],"policy":{{"effect":"{effect}","rules":[{rules}],"component":"c","revision":"r"}},"status":200}}"#,
        time = 1_800_000_000 + number,
    ) + "\n"
}

const APP: &str = "arn:aws:sts::111122223333:assumed-role/App/s";
const OTHER: &str = "arn:aws:sts::111122223333:assumed-role/Other/s";

/// 3 of the app, which the example allows, 2 of another role, which it denies, and what no policy decided.
fn log() -> String {
    let mut text = String::from(
        "{\"schema\":1,\"keyStore\":\"demo\",\"operation\":\"GetHealthStatus\",\"status\":200}\n",
    );
    for number in 0..3 {
        text += &record(number, "Decrypt", APP, "demo", "allow", "\"volumes\"");
    }
    for number in 3..5 {
        text += &record(number, "Encrypt", OTHER, "demo", "allow", "\"old\"");
    }
    text + "not JSON\n"
}

#[test]
fn changes_are_counted_and_grouped() {
    let folder = Folder::with_policy("cedar");
    folder.write("audit.jsonl", &log());
    let ran = folder.policy("backtest cedar --audit audit.jsonl --json");
    assert_eq!(ran.code, Some(4));
    let report = ran.json();
    for (field, expected) in [
        ("decisions", 5),
        ("same", 3),
        ("now_denied", 2),
        ("now_allowed", 0),
        ("undecided", 1),
        ("unreadable", 1),
    ] {
        assert_eq!(report[field], expected, "{field}: {report:#}");
    }
    let group = &report["groups"][0];
    assert_eq!(
        (&group["count"], &group["change"], &group["principal"], &group["key"], &group["operation"]),
        (
            &2.into(),
            &"allow -> deny".into(),
            &"111122223333/Other".into(),
            &"demo/demo".into(),
            &"Encrypt".into()
        )
    );
    assert_eq!((&group["before"], &group["after"]), (&serde_json::json!(["old"]), &serde_json::json!([])));
}

#[test]
fn a_policy_that_changes_nothing_says_so_to_a_script() {
    let folder = Folder::with_policy("cedar");
    folder.write("audit.jsonl", &log());
    let until = "--until 2027-01-15T08:00:03Z";
    folder.policy(&format!("backtest cedar --audit audit.jsonl {until}")).done();
    folder.policy("backtest cedar --audit audit.jsonl --last 2").refused(4, "1 of 1 decisions would change");
    folder.policy("backtest cedar --audit audit.jsonl --key-store other").done();
    folder.policy("backtest cedar --audit nowhere").refused(1, "can't read the audit log nowhere");
}
