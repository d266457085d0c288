//! Versions of a key, and the count of their uses.

use holdfast_test_tokens::{Kind, Token};
use holdfast_tests::{unbase64, wait_for};

use crate::rig::{KINDS, Part, Rig, import};

#[test]
fn a_rotated_key_encrypts_by_its_new_version_and_decrypts_by_all() {
    for kind in KINDS {
        let Some(mut rig) = Rig::start(kind, &["rotates"], "process") else { continue };
        let old = rig.encrypt().ok();
        let said = rig.host.holdfast(&["key", "rotate", "demo", "--key-store", "demo"]);
        assert!(said.contains("version 2"), "{said}");
        let new = wait_for("a ciphertext of version 2", || {
            let made = rig.encrypt().ok();
            (made["ciphertextMetadata"] != old["ciphertextMetadata"]).then_some(made)
        });
        assert_eq!(unbase64(&new["ciphertextMetadata"]).last(), Some(&2));
        rig.assert_decrypts(&old);
        rig.assert_decrypts(&new);
        rig.host.restart();
        rig.until_active();
        rig.assert_decrypts(&old);
        assert_eq!(rig.encrypt().ok()["ciphertextMetadata"], new["ciphertextMetadata"]);
    }
}

#[test]
fn a_key_is_rotated_by_its_label() {
    let key: toml::Table = "orders = { label = \"prod-orders\" }".parse().unwrap();
    let Some(token) = Token::softhsm2("labels") else { return };
    // One that is labelled as the other is called.
    for label in ["orders", "prod-orders"] {
        import(&token, label, true, true);
    }
    let rig = Rig::of(vec![Part::new(token)], "process", |setup| setup.demo("hsm_keys", key));
    rig.until_active();
    let said = rig.host.holdfast(&["key", "rotate", "orders", "--key-store", "demo"]);
    assert!(said.contains("version 2"), "{said}");
    let listed = rig.host.holdfast(&["hsm", "list-keys"]);
    assert!(listed.contains("prod-orders#2") && !listed.contains(" orders#2"), "{listed}");
    assert!(!listed.lines().any(|line| line.starts_with("orders#2")), "{listed}");
}

#[test]
fn uses_are_counted_across_restarts_and_a_kill_counts_too_many_rather_than_too_few() {
    let Some(mut rig) = Rig::start(Kind::SoftHsm2, &["counts"], "process") else { return };
    let file = rig.host.home().join("hsm-state/demo/uses");
    let reserved = || -> u64 {
        let text = std::fs::read_to_string(&file).unwrap();
        let count = text.lines().find_map(|line| line.strip_suffix(" demo")?.parse().ok());
        count.unwrap_or_else(|| panic!("demo isn't counted: {text}"))
    };
    rig.encrypt().ok();
    let before = reserved();
    assert!(before >= 1);
    rig.host.kill_and_restart();
    rig.until_active();
    rig.encrypt().ok();
    assert!(reserved() > before, "a new block after the restart");
}
