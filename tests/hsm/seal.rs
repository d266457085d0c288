//! The keystore sealed by a key in an HSM.

use std::process::{Command, Stdio};

use holdfast_test_tokens::{Faults, Function, Kind, Token};
use holdfast_tests::{
    Host, Operation, Setup, decrypt_body, encrypt_body, metadata_body, program, unbase64, wait_for,
};
use serde_json::Value;
use toml::Table;

use crate::rig::{KINDS, Part, Rig, TEXT};

const KEY_FILE: &str = "keystore.seal";

/// `demo` has its keys in the keystore; the HSM `seals` is there for the seal only.
struct Sealed {
    // First, so that it ends before its token goes.
    host: Host,
    faults: Faults,
    token: Token,
}

impl Sealed {
    fn start(kind: Kind) -> Option<Sealed> {
        let token = Token::make(kind, "seals")?;
        let faults = token.faults();
        let hsm = hsm(&token, &faults);
        let host = Setup::new().limit("budget", "2s").config(move |config, _| {
            config.insert("hsm".into(), vec![toml::Value::from(hsm)].into());
        });
        Some(Sealed { host: host.start(), faults, token })
    }

    fn by_hsm(&self) {
        self.host.holdfast(&["hsm", "create-key", "holdfast-seal"]);
        let said = self.host.holdfast(&["keystore", "reseal", "--hsm", "seals"]);
        let line = said.lines().find_map(|line| line.trim().strip_prefix("seal = "));
        self.configure(|config| {
            let seal: Table = format!("seal = {}", line.unwrap_or_else(|| panic!("{said}"))).parse().unwrap();
            config["keystore"].as_table_mut().unwrap().insert("seal".into(), seal["seal"].clone());
        });
    }

    fn configure(&self, change: impl FnOnce(&mut Table)) {
        let mut config: Table = std::fs::read_to_string(self.host.config_file()).unwrap().parse().unwrap();
        change(&mut config);
        std::fs::write(self.host.config_file(), config.to_string()).unwrap();
    }

    fn use_token(&self, token: &Token, faults: &Faults) {
        let hsm = hsm(token, faults);
        self.configure(|config| {
            config.insert("hsm".into(), vec![toml::Value::from(hsm)].into());
        });
    }

    /// The standard error of a command that must fail.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.host.config_file()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }

    fn info(&self) -> Value {
        serde_json::from_str(&self.host.holdfast(&["keystore", "info", "--json"])).unwrap()
    }

    #[track_caller]
    fn encrypt(&self) -> Value {
        self.host.client().call(Operation::Encrypt, "demo", encrypt_body(TEXT)).ok()
    }

    #[track_caller]
    fn assert_decrypts(&self, made: &Value) {
        let opened = self.host.client().call(Operation::Decrypt, "demo", decrypt_body(made)).ok();
        assert_eq!(unbase64(&opened["plaintext"]), TEXT);
    }
}

/// Without a test key: nothing but the seal is in it.
fn hsm(token: &Token, faults: &Faults) -> Table {
    let mut table = Table::new();
    let mut set = |name: &str, value: &str| table.insert(name.to_owned(), value.into());
    set("name", "seals");
    set("module", faults.module().to_str().unwrap());
    set("token_label", token.label());
    set("pin_file", token.pin_file().to_str().unwrap());
    table
}

#[test]
fn a_keystore_moves_to_an_hsms_seal_and_back_with_all_that_it_holds() {
    for kind in KINDS {
        let Some(mut sealed) = Sealed::start(kind) else { continue };
        let made = sealed.encrypt();
        sealed.by_hsm();
        assert_eq!(sealed.info()["seal"], "hsm");
        sealed.host.restart();
        sealed.assert_decrypts(&made);

        // Changes of the keystore need the HSM at the terminal; the running host has the root already.
        let logins = || sealed.faults.calls(Function::C_Login);
        let before = logins();
        sealed.host.holdfast(&["key", "create", "later"]);
        assert!(logins() > before);
        let after = logins();
        wait_for("the new key", || {
            let reply = sealed.host.client().call(Operation::Metadata, "later", metadata_body("DescribeKey"));
            (reply.status == 200).then_some(())
        });
        assert_eq!(logins(), after, "a running host asks no HSM");

        // With a new root, and the same key.
        sealed.host.holdfast(&["keystore", "reseal", "--hsm", "seals", "--hsm-key", "holdfast-seal"]);
        sealed.host.holdfast(&["keystore", "verify"]);

        let new = sealed.host.home().join("new.seal");
        sealed.host.holdfast(&["keystore", "reseal", "--key-file", new.to_str().unwrap()]);
        assert!(sealed.fails(&["keystore", "verify"]).contains("sealed by a key-file, but a hsm was given"));
        sealed.configure(|config| {
            let seal: Table = "key_file = \"new.seal\"".parse().unwrap();
            config["keystore"].as_table_mut().unwrap().insert("seal".into(), seal.into());
        });
        sealed.host.restart();
        sealed.assert_decrypts(&made);
        assert_eq!(sealed.info()["seal"], "key-file");
    }
}

#[test]
fn another_token_or_another_key_opens_nothing_and_says_so() {
    let Some(sealed) = Sealed::start(Kind::SoftHsm2) else { return };
    let said = sealed.fails(&["keystore", "reseal", "--hsm", "seals"]);
    assert!(said.contains("has no AES-256 key holdfast-seal") && said.contains("create-key"), "{said}");
    assert_eq!(sealed.info()["seal"], "key-file", "nothing was written");
    assert!(sealed.fails(&["keystore", "reseal", "--hsm", "other"]).contains("no HSM other"));
    sealed.by_hsm();

    let other = Token::softhsm2("other").unwrap();
    let faults = other.faults();
    sealed.use_token(&other, &faults);
    let said = sealed.fails(&["keystore", "verify"]);
    assert!(said.contains("has no AES-256 key holdfast-seal"), "{said}");
    other.create_key("holdfast-seal");
    let said = sealed.fails(&["keystore", "verify"]);
    assert!(said.contains("another key holdfast-seal than the one that sealed"), "{said}");

    sealed.use_token(&sealed.token, &sealed.faults);
    sealed.host.holdfast(&["keystore", "verify"]);
    sealed.configure(|config| {
        let seal = config["keystore"].as_table_mut().unwrap()["seal"].as_table_mut().unwrap();
        seal.insert("hsm_key".into(), "renamed".into());
    });
    let said = sealed.fails(&["keystore", "verify"]);
    assert!(
        said.contains("sealed by the key \"holdfast-seal\", and keystore.seal names \"renamed\""),
        "{said}"
    );
    assert!(sealed.host.home().join(KEY_FILE).is_file(), "the old seal is the operator's to remove");
}

#[test]
fn a_host_whose_seal_is_away_says_so_and_starts_when_it_is_back() {
    let Some(mut sealed) = Sealed::start(Kind::SoftHsm2) else { return };
    let made = sealed.encrypt();
    sealed.by_hsm();
    sealed.host.restart();
    sealed.faults.remove_token();
    // It runs on.
    sealed.assert_decrypts(&made);
    for arguments in [["serve"].as_slice(), &["keystore", "verify"]] {
        let said = sealed.fails(arguments);
        assert!(said.contains("the HSM can't be used: seals:"), "{said}");
    }
    sealed.faults.insert_token();
    sealed.host.restart();
    sealed.assert_decrypts(&made);
}

#[test]
fn a_wrong_pin_for_the_seal_is_tried_once() {
    let Some(sealed) = Sealed::start(Kind::SoftHsm2) else { return };
    sealed.by_hsm();
    let right = std::fs::read(sealed.token.pin_file()).unwrap();
    std::fs::write(sealed.token.pin_file(), "0000-0000").unwrap();
    let before = sealed.faults.calls(Function::C_Login);
    for _ in 0..3 {
        sealed.fails(&["keystore", "verify"]);
    }
    assert_eq!(sealed.faults.calls(Function::C_Login), before + 1);
    std::fs::write(sealed.token.pin_file(), right).unwrap();
    sealed.host.holdfast(&["keystore", "verify"]);
}

#[test]
fn requests_never_reach_the_key_that_seals() {
    let Some(token) = Token::softhsm2("both") else { return };
    let part = Part::new(token);
    part.token.create_key("holdfast-seal");
    part.token.create_key("holdfast-seal#2");
    let rig = Rig::of(vec![part], "process", |setup| {
        setup.config(|config, _| {
            config["key_store"].as_array_mut().unwrap()[0].as_table_mut().unwrap().remove("hsm_keys");
        })
    });
    rig.until_active();
    let mut client = rig.host.client();
    client.call(Operation::Encrypt, "holdfast-seal", encrypt_body(TEXT)).ok();
    rig.host.holdfast(&["keystore", "reseal", "--hsm", "both"]);
    let file = rig.host.config_file();
    let mut config: Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let seal: Table = "hsm = \"both\"\nhsm_key = \"holdfast-seal\"".parse().unwrap();
    config["keystore"].as_table_mut().unwrap().insert("seal".into(), seal.into());
    std::fs::write(&file, config.to_string()).unwrap();
    let mut rig = rig;
    rig.host.restart();
    rig.until_active();
    let mut client = rig.host.client();
    client.call(Operation::Encrypt, "demo", encrypt_body(TEXT)).ok();
    client.call(Operation::Encrypt, "holdfast-seal", encrypt_body(TEXT)).refused(404, "KeyNotFoundException");
}
