//! `holdfast key`, `credential` and `kms-config`.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use holdfast_tests::{Folder, Ran};

#[test]
fn a_key_lives_from_create_to_destroy() {
    let folder = Folder::with_demo();
    folder.holdfast("key create a.b_c-1 --usage decrypt").done();
    let key = folder.json("key show a.b_c-1 --json");
    assert_eq!((&key["status"], &key["usage"]), (&"ENABLED".into(), &serde_json::json!(["DECRYPT"])));
    folder.holdfast("key disable a.b_c-1").done();
    assert_eq!(folder.json("key show a.b_c-1 --json")["status"], "DISABLED");
    folder.holdfast("key enable a.b_c-1").done();
    folder.holdfast("key rotate a.b_c-1").done();
    let key = folder.json("key show a.b_c-1 --json");
    assert_eq!(key["status"], "ENABLED");
    assert_eq!(key["versions"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&key["versions"][0]["encrypts"], &key["versions"][1]["encrypts"]),
        (&false.into(), &true.into())
    );
    folder.holdfast("key destroy a.b_c-1 --yes demo").refused(1, "nothing was destroyed");
    folder.holdfast("key destroy a.b_c-1").refused(2, "--yes");
    folder.holdfast("key destroy a.b_c-1 --yes a.b_c-1").done();
    folder.holdfast("key show a.b_c-1").refused(1, "has no key");
}

#[test]
fn a_key_may_have_no_usage() {
    let folder = Folder::with_demo();
    folder.holdfast("key create idle --usage none").done();
    assert_eq!(folder.json("key show idle --json")["usage"], serde_json::json!([]));
    folder.holdfast("key create x --usage sign").refused(2, "encrypt,decrypt");
}

#[test]
fn t5_key_ids_keep_to_the_specification() {
    let folder = Folder::with_demo();
    for id in ["a/b", "..", ".", "ä", &"k".repeat(129)] {
        folder.run(["key", "create", id]).refused(2, "key id");
    }
    folder.run(["key", "create", &"k".repeat(128)]).done();
    folder.holdfast("key create demo").refused(1, "already");
}

#[test]
fn a4_a_second_credential_comes_and_the_first_goes() {
    let folder = Folder::with_demo();
    let first = folder.json("credential list --json")[0]["access_key_id"].as_str().unwrap().to_owned();
    folder.run(["credential", "remove", &first]).refused(1, "last credential");
    let second = folder.json("credential create");
    let pair = &second["XksProxyAuthenticationCredential"];
    let second = pair["AccessKeyId"].as_str().unwrap();
    let listed = folder.holdfast("credential list").done();
    assert!(listed.contains(&first) && listed.contains(second), "{listed}");
    folder.holdfast("kms-config").refused(1, "several credentials");
    assert_eq!(folder.json(&format!("kms-config {second}"))["XksProxyAuthenticationCredential"], *pair);
    folder.run(["credential", "remove", &first]).done();
    folder.run(["credential", "remove", &first]).refused(1, "has no credential");
    folder.run(["credential", "remove", second, "--force"]).done();
    assert_eq!(folder.json("credential list --json"), serde_json::json!([]));
}

#[test]
fn no_list_shows_a_secret() {
    let folder = Folder::with_demo();
    let config = folder.json("kms-config");
    let secret = config["XksProxyAuthenticationCredential"]["RawSecretAccessKey"].as_str().unwrap();
    assert!(secret.len() >= 43);
    for line in ["credential list", "credential list --json", "keystore verify", "check-config"] {
        let ran = folder.holdfast(line);
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{line}");
    }
}

#[test]
fn a_credential_file_is_private_and_new() {
    let folder = Folder::with_demo();
    folder.holdfast("credential create --output kms.json").done();
    let mode = std::fs::metadata(folder.path("kms.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = folder.json("credential list --json");
    folder.holdfast("credential create --output kms.json").refused(1, "nothing is overwritten");
    assert_eq!(folder.json("credential list --json"), before, "nothing is made that nobody gets");
}

#[test]
fn a_key_store_that_is_new_in_the_configuration_comes_with_its_first_change() {
    let folder = Folder::with_demo();
    let second =
        "\n[[key_store]]\nname = \"second\"\nuri_path_prefix = \"/second\"\nregions = [\"us-east-1\"]\n";
    let toml = folder.read("demo/holdfast.toml") + second;
    std::fs::write(folder.path("demo/holdfast.toml"), toml).unwrap();
    folder.holdfast("key list").refused(1, "choose one by --key-store: demo, second");
    folder.holdfast("key list --key-store third").refused(1, "has no key store third; it has demo, second");
    folder.holdfast("key create first --key-store second").done();
    let keys = folder.json("key list --json --key-store second");
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(folder.json("kms-config --key-store demo")["XksProxyUriPath"], "/demo/kms/xks/v1");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = Folder::with_demo();
    let mut child =
        folder.command().args(["key", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_missing_configuration_is_named() {
    Folder::new().holdfast("key list").refused(1, "can't read the configuration demo/holdfast.toml");
}

#[test]
fn a_credential_that_kms_has_is_taken_in_once_and_its_secret_never_shown() {
    const SECRET: &str = "NotARealSecretButLongEnoughToLookLikeOne1234";
    let folder = Folder::with_demo();
    let json = |path: &str, secret: &str| {
        serde_json::json!({
            "XksProxyUriPath": path,
            "XksProxyAuthenticationCredential": {"AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "RawSecretAccessKey": secret},
        })
        .to_string()
    };
    folder.write("kms.json", &json("/demo/kms/xks/v1", SECRET));
    let said = folder.holdfast("credential import kms.json").done();
    assert!(said.contains("ABCDEFGHIJKLMNOPQRST") && !said.contains("KMS calls it"), "{said}");
    let listed = folder.holdfast("credential list --json").done();
    assert!(listed.contains("ABCDEFGHIJKLMNOPQRST") && !listed.contains(SECRET), "{listed}");
    folder.holdfast("credential import kms.json").refused(1, "ABCDEFGHIJKLMNOPQRST");
    folder.holdfast("credential remove ABCDEFGHIJKLMNOPQRST").done();
    folder.write("kms.json", &json("/elsewhere/kms/xks/v1", SECRET));
    assert!(
        folder
            .holdfast("credential import kms.json")
            .done()
            .contains("KMS calls it at /elsewhere/kms/xks/v1")
    );
    for (text, reason) in [
        ("{", "it ends too early"),
        ("{}", "a field is missing"),
        ("secret", "it isn't JSON"),
        (json("/demo/kms/xks/v1", "short").as_str(), "RawSecretAccessKey"),
    ] {
        folder.write("bad.json", text);
        let ran = folder.holdfast("credential import bad.json");
        assert!(!ran.stderr.contains("\"short\""), "{}", ran.stderr);
        ran.refused(1, reason);
    }
}
