//! `holdfast init`.

use std::os::unix::fs::PermissionsExt;

use holdfast_tests::{Folder, Ran};

fn mode(folder: &Folder, name: &str) -> u32 {
    std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Folder, name: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path(name))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn init_makes_all_that_a_first_key_store_needs() {
    let folder = Folder::new();
    let told = folder.run(["init", "demo", "--components", "wasm"]).done();
    assert!(told.contains("holdfast serve --config demo/holdfast.toml"), "{told}");
    for (name, expected) in [
        ("demo", 0o700),
        ("demo/keystore.seal", 0o600),
        ("demo/keystore.holdfast", 0o600),
        ("demo/demo-credential.json", 0o600),
        ("demo/tls/ca-key.pem", 0o600),
        ("demo/tls/server-key.pem", 0o600),
    ] {
        assert_eq!(mode(&folder, name), expected, "{name}");
    }
    for name in ["holdfast.toml", "policy.cedar", "tls/ca.pem", "tls/server.pem"] {
        assert!(!folder.read(&format!("demo/{name}")).is_empty());
    }
    assert_eq!(folder.read("demo/components/sigv4.wasm"), "sigv4");
    let key = &folder.json("key list --json")[0];
    assert_eq!(key["id"], "demo");
    assert_eq!(key["usage"], serde_json::json!(["ENCRYPT", "DECRYPT"]));
}

#[test]
fn k1_the_demo_credential_is_the_one_in_the_keystore() {
    let folder = Folder::with_demo();
    let file: serde_json::Value = serde_json::from_str(&folder.read("demo/demo-credential.json")).unwrap();
    assert_eq!(file["XksProxyUriPath"], "/demo/kms/xks/v1");
    assert_eq!(file, folder.json("kms-config"));
}

#[test]
fn init_overwrites_nothing() {
    let folder = Folder::with_demo();
    let before = folder.read("demo/holdfast.toml");
    let seal = folder.read("demo/keystore.seal");
    folder.run(["init", "demo", "--components", "wasm"]).refused(1, "nothing is overwritten");
    assert_eq!((before, seal), (folder.read("demo/holdfast.toml"), folder.read("demo/keystore.seal")));
    std::fs::write(folder.path("file"), "mine").unwrap();
    folder.run(["init", "file", "--components", "wasm"]).refused(1, "nothing is overwritten");
    assert_eq!(folder.read("file"), "mine");
    std::os::unix::fs::symlink("nowhere", folder.path("link")).unwrap();
    folder.run(["init", "link", "--components", "wasm"]).refused(1, "nothing is overwritten");
    folder.run(["init", ".", "--components", "wasm"]).refused(1, "is the current folder");
}

#[test]
fn init_takes_an_empty_folder() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("demo")).unwrap();
    folder.run(["init", "demo", "--components", "wasm"]).done();
    assert!(folder.path("demo/holdfast.toml").exists());
}

#[test]
fn a_failed_init_leaves_nothing() {
    let folder = Folder::new();
    folder
        .run(["init", "demo", "--components", "nowhere"])
        .refused(1, "sigv4.wasm, proxy.wasm, policy-cedar.wasm");
    folder
        .run(["init", "demo", "--components", "wasm", "--seal", "passphrase"])
        .refused(1, "HOLDFAST_PASSPHRASE");
    folder.run(["init", "a/b", "--components", "wasm"]).refused(1, "its folder must exist");
    assert_eq!(names(&folder, "."), ["wasm"]);
}

#[test]
fn plain_http_is_for_loopback_only() {
    let folder = Folder::new();
    let line = "init demo --components wasm --plain-http";
    folder.holdfast(&format!("{line} --listen 0.0.0.0:8080")).refused(2, "loopback");
    folder.holdfast(&format!("{line} --listen 127.0.0.1:18080")).done();
    let toml = folder.read("demo/holdfast.toml");
    assert!(toml.contains("listen = \"127.0.0.1:18080\"\nplain_http = true"), "{toml}");
    assert!(!folder.path("demo/tls").exists());
}

#[test]
fn a_passphrase_opens_the_keystore_and_nothing_else_does() {
    let folder = Folder::new();
    let with = |passphrase: &str, line: &str| {
        Ran::from(
            folder.command().args(line.split(' ')).env("HOLDFAST_PASSPHRASE", passphrase).output().unwrap(),
        )
    };
    with("correct horse", "init demo --components wasm --seal passphrase").done();
    assert!(!folder.path("demo/keystore.seal").exists());
    with("correct horse", "key list").done();
    with("wrong horse", "key list").refused(1, "wrong passphrase");
    folder.holdfast("key list").refused(1, "HOLDFAST_PASSPHRASE is not set");
}

#[test]
fn the_region_and_the_address_reach_the_configuration() {
    let folder = Folder::new();
    folder.holdfast("init demo --components wasm --region eu-central-1 --listen [::1]:9443").done();
    let toml = folder.read("demo/holdfast.toml");
    assert!(
        toml.contains("regions = [\"eu-central-1\"]") && toml.contains("listen = \"[::1]:9443\""),
        "{toml}"
    );
    folder.holdfast("init other --region Europe").refused(2, "isn't a region");
}
