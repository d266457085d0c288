//! `holdfast hsm` beside a running host.

use cryptoki::object::Attribute;
use holdfast_test_tokens::{Kind, Token};
use holdfast_tests::{Operation, encrypt_body, wait_for};
use serde_json::Value;

use crate::rig::{Part, Rig};

fn json(rig: &Rig, arguments: &[&str]) -> Value {
    serde_json::from_str(&rig.host.holdfast(arguments)).unwrap()
}

#[test]
fn what_is_in_an_hsm_is_listed_probed_and_made_beside_a_running_host() {
    for kind in [Kind::SoftHsm2, Kind::Kryoptic] {
        let Some(rig) = Rig::start(kind, &["looks"], "process") else { continue };
        let token = &rig.parts[0].token;

        let tokens = json(&rig, &["hsm", "list", "--json"]);
        let found = tokens.as_array().unwrap().iter().find(|found| found["label"] == "looks").unwrap();
        assert_eq!(found["serial"].as_str().unwrap().trim(), token.serial().trim());
        assert_eq!((&found["aes_gcm"], &found["pin_locked"]), (&true.into(), &false.into()));

        let probe = json(&rig, &["hsm", "probe", "--rounds", "20", "--json"]);
        assert_eq!(probe["label"], "looks");
        assert!(probe["speed"]["encrypt_microseconds"].as_f64().unwrap() > 0.0, "{probe}");
        assert_eq!(probe["message_functions"], kind == Kind::Kryoptic);

        rig.host.holdfast(&["hsm", "create-key", "made"]);
        token.create_key_with("loose", &[Attribute::Sensitive(false), Attribute::Extractable(true)]);
        let keys = json(&rig, &["hsm", "list-keys", "--json"]);
        let key = |label: &str| keys.as_array().unwrap().iter().find(|key| key["label"] == label).unwrap();
        assert_eq!((&key("made")["sensitive"], &key("made")["extractable"]), (&true.into(), &false.into()));
        assert!(key("made")["warnings"].as_array().unwrap().is_empty());
        assert_eq!(key("loose")["warnings"].as_array().unwrap().len(), 2, "{keys}");
        assert!(rig.host.holdfast(&["hsm", "list-keys"]).contains("WARNING"));
    }
}

#[test]
fn a_module_that_is_configured_twice_is_listed_in_each_environment() {
    let (Some(one), Some(two)) = (Token::softhsm2("one"), Token::softhsm2("two")) else { return };
    // Not behind the fault module: each has a copy of that, and so another path.
    let table = |part: &Part| {
        let mut table = part.table("process");
        table.insert("module".into(), part.token.module().to_str().unwrap().into());
        let environment = part
            .token
            .environment()
            .iter()
            .map(|(name, value)| (name.to_str().unwrap().to_owned(), value.to_str().unwrap().into()));
        table.insert("environment".into(), environment.collect::<toml::Table>().into());
        toml::Value::from(table)
    };
    let parts = vec![Part::new(one), Part::new(two)];
    let tables: Vec<_> = parts.iter().map(table).collect();
    let rig = Rig::of(parts, "process", |setup| {
        setup.config(move |config, _| drop(config.insert("hsm".into(), tables.into())))
    });
    let tokens = json(&rig, &["hsm", "list", "--json"]);
    let labels: Vec<_> =
        tokens.as_array().unwrap().iter().filter_map(|token| token["label"].as_str()).collect();
    assert!(labels.contains(&"one") && labels.contains(&"two"), "{labels:?}");
}

#[test]
fn a_new_key_is_served_without_a_restart_where_keys_are_not_listed() {
    let Some(token) = Token::softhsm2("grows") else { return };
    let rig = Rig::of(vec![Part::new(token)], "process", |setup| {
        setup.config(|config, _| {
            config["key_store"].as_array_mut().unwrap()[0].as_table_mut().unwrap().remove("hsm_keys");
        })
    });
    rig.until_active();
    let mut client = rig.host.client();
    client.call(Operation::Encrypt, "later", encrypt_body("x")).refused(404, "KeyNotFoundException");
    rig.host.holdfast(&["hsm", "create-key", "later"]);
    wait_for("the new key", || {
        (client.call(Operation::Encrypt, "later", encrypt_body("x")).status == 200).then_some(())
    });
}
