//! tests/keystore-decoder/decode.py, which shares no code with this crate, reads the same out of the same files.
//!
//! `HOLDFAST_TEST_PYTHON` names a Python that has the packages cryptography and argon2-cffi.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the functions beside the tests too

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use holdfast_keystore::{
    AccessKeyId, Contents, Key, KeyId, KeyStoreName, KeystoreFile, MaterialKind, Opened, PassphraseCost,
    Seal, SecretAccessKey, Status, SystemRandom, Usage,
};
use holdfast_secret::Secret;
use serde_json::{Value, json};

/// None, and a line that says so, where there is no such Python.
fn python(test: &str) -> Option<String> {
    let python = env::var("HOLDFAST_TEST_PYTHON").ok();
    if python.is_none() {
        println!("skipped: {test}: HOLDFAST_TEST_PYTHON names no Python with cryptography and argon2-cffi");
    }
    python
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(python: &str, arguments: &[&str]) -> Output {
    let script = repository().join("tests/keystore-decoder/decode.py");
    Command::new(python).arg(script).args(arguments).output().unwrap()
}

fn decode(python: &str, arguments: &[&str]) -> Value {
    let output = run(python, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn it_reads_the_vectors() {
    let Some(python) = python("it_reads_the_vectors") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (key_file, passphrase) = (folder.path().join("key"), folder.path().join("passphrase"));
    fs::write(&key_file, [0x42; 32]).unwrap();
    fs::write(&passphrase, "correct horse battery staple").unwrap();
    let testdata = repository().join("crates/keystore/testdata");
    let mut expected: Value =
        serde_json::from_str(&fs::read_to_string(testdata.join("contents.json")).unwrap()).unwrap();
    for (name, option, with) in
        [("key-file", "--key-file", &key_file), ("passphrase", "--passphrase-file", &passphrase)]
    {
        expected["seal"] = json!(name);
        let file = testdata.join(format!("{name}.hex"));
        assert_eq!(decode(&python, &[text(&file), option, text(with)]), expected);
    }
}

/// What the decoder should print of a key, but for the material, which this crate shows to nobody.
fn described(key: &Key) -> Value {
    let Usage { encrypt, decrypt } = key.usage();
    let usage = [(encrypt, "encrypt"), (decrypt, "decrypt")];
    let versions = key.versions().iter().map(|version| {
        let kind = match version.kind() {
            MaterialKind::Xaes256Gcm => "XAES-256-GCM",
            MaterialKind::ImportedAes256Gcm => "AES-256-GCM import",
        };
        json!({ "number": version.number(), "kind": kind, "created": version.created() })
    });
    json!({
        "usage": usage.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect::<Vec<_>>(),
        "status": if key.status() == Status::Enabled { "enabled" } else { "disabled" },
        "created": key.created(),
        "versions": versions.collect::<Vec<_>>(),
    })
}

fn described_keystore(Opened { contents, info }: &Opened) -> Value {
    let mut stores = json!({});
    for (name, store) in contents.key_stores() {
        let mut described_store =
            json!({ "test_key": described(store.test_key()), "keys": {}, "credentials": {} });
        for (id, key) in store.keys() {
            described_store["keys"][id.as_str()] = described(key);
        }
        for (id, credential) in store.credentials() {
            described_store["credentials"][id.as_str()] =
                json!({ "secret": credential.secret().expose_str(), "created": credential.created() });
        }
        stores[name.as_str()] = described_store;
    }
    json!({
        "id": info.id.to_string(),
        "generation": info.generation,
        "erasing": info.erasing,
        "seal": info.seal.kind().to_string(),
        "key_stores": stores,
    })
}

fn remove_material(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("material");
            members.values_mut().for_each(remove_material);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_material),
        _ => {}
    }
}

fn new_contents() -> Contents {
    let (main, demo) = (KeyStoreName::parse("main").unwrap(), KeyId::parse("demo").unwrap());
    let mut contents = Contents::new();
    contents.create_key_store(&main, 1, &mut SystemRandom).unwrap();
    contents.create_key(&main, &demo, Usage::BOTH, 2, &mut SystemRandom).unwrap();
    contents.import_version(&main, &demo, &[9; 32], 3).unwrap();
    let secret = SecretAccessKey::generate(&mut SystemRandom).unwrap();
    let access_key_id = AccessKeyId::generate(&mut SystemRandom).unwrap();
    contents.add_credential(&main, &access_key_id, secret, 4).unwrap();
    contents
}

fn check_new_file(python: &str, seal: &Seal, option: &str, with: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let file = KeystoreFile::at(folder.path().join("keys"));
    file.create(seal, &new_contents()).unwrap();
    let (main, demo) = (KeyStoreName::parse("main").unwrap(), KeyId::parse("demo").unwrap());
    file.update(seal, |contents| contents.rotate_key(&main, &demo, 5, &mut SystemRandom)).unwrap();
    let opened = file.open(seal).unwrap();

    let key = opened.contents.key_store("main").unwrap().key("demo").unwrap();
    let frame = |metadata: &[u8]| [b"some frame", metadata].concat();
    let encrypted = key.encrypt(b"a secret text", frame, &mut SystemRandom).unwrap();
    let aad = frame(&encrypted.metadata);
    let operands =
        [&encrypted.ciphertext, &encrypted.iv[..], &encrypted.tag, &encrypted.metadata, &aad].map(hex);

    let mut arguments = vec![text(file.path()), option, text(with), "--decrypt", "main", "demo"];
    arguments.extend(operands.iter().map(String::as_str));
    let mut decoded = decode(python, &arguments);
    assert_eq!(decoded["decrypted"], hex(b"a secret text"));
    decoded.as_object_mut().unwrap().remove("decrypted");
    remove_material(&mut decoded);
    assert_eq!(decoded, described_keystore(&opened));
}

#[test]
fn it_reads_a_new_file_and_decrypts_what_a_key_encrypted() {
    let Some(python) = python("it_reads_a_new_file_and_decrypts_what_a_key_encrypted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let with = folder.path().join("seal");

    let content = Seal::new_key_file(&mut SystemRandom).unwrap();
    fs::write(&with, content.expose()).unwrap();
    check_new_file(&python, &Seal::key_file(content.expose()).unwrap(), "--key-file", &with);
    check_new_file(&python, &Seal::systemd_credential(content.expose()).unwrap(), "--key-file", &with);

    fs::write(&with, "correct horse").unwrap();
    let cost = PassphraseCost { memory: 256, passes: 2, lanes: 4 };
    let seal = Seal::passphrase_with_cost(Secret::copy_from(b"correct horse"), cost).unwrap();
    check_new_file(&python, &seal, "--passphrase-file", &with);
}

#[test]
fn it_opens_nothing_with_the_wrong_key() {
    let Some(python) = python("it_opens_nothing_with_the_wrong_key") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, with) = (folder.path().join("keys"), folder.path().join("seal"));
    KeystoreFile::at(&file).create(&Seal::key_file(&[1; 32]).unwrap(), &new_contents()).unwrap();
    fs::write(&with, [2; 32]).unwrap();
    let output = run(&python, &[text(&file), "--key-file", text(&with)]);
    assert!(!output.status.success() && output.stdout.is_empty());
}
