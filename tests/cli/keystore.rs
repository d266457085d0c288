//! `holdfast keystore`.

use holdfast_tests::Folder;

#[test]
fn a_backup_brings_back_what_was_destroyed() {
    let folder = Folder::with_demo();
    folder.holdfast("keystore backup saved").done();
    folder.holdfast("keystore backup saved").refused(1, "nothing was overwritten");
    folder.holdfast("key destroy demo --yes demo").done();
    assert_eq!(folder.json("key list --json"), serde_json::json!([]));
    let generation = || folder.json("keystore info --json")["generation"].as_u64().unwrap();
    let before = generation();
    folder.holdfast("keystore restore saved").done();
    assert_eq!(folder.json("key list --json")[0]["id"], "demo");
    assert!(generation() > before, "a running host takes only a newer generation");
}

#[test]
fn a_resealed_keystore_opens_with_the_new_seal_only() {
    let folder = Folder::with_demo();
    let told = folder.holdfast("keystore reseal --key-file new.seal").done();
    let line = told.lines().find(|line| line.contains("seal = ")).unwrap().trim();
    folder.holdfast("key list").refused(1, "wrong key-file");
    let toml = folder.read("demo/holdfast.toml").replace("seal = { key_file = \"keystore.seal\" }", line);
    std::fs::write(folder.path("demo/holdfast.toml"), toml).unwrap();
    folder.holdfast("key list").done();
    folder.holdfast("keystore reseal").refused(2, "--key-file");
}

#[test]
fn damage_is_told_by_verify() {
    let folder = Folder::with_demo();
    let counted = folder.json("keystore verify --json");
    assert_eq!(counted["key_stores"], serde_json::json!([{"name": "demo", "keys": 1, "credentials": 1}]));
    let file = folder.path("demo/keystore.holdfast");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    folder.holdfast("keystore verify").refused(1, "damaged");
    folder.holdfast("keystore backup saved").refused(1, "damaged");
    assert!(!folder.path("saved").exists());
    assert_eq!(folder.json("keystore info --json")["checksum_ok"], false);
}

#[test]
fn the_folder_that_init_made_does_as_the_configuration() {
    let folder = Folder::with_demo();
    folder.holdfast("key list --config demo --json").done();
    folder.holdfast("keystore info --config demo/holdfast.toml").done();
    folder.holdfast("key list --config wasm").refused(1, "holdfast.toml");
}
