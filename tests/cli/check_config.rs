//! `holdfast check-config`.

use holdfast_tests::Folder;

fn edit(folder: &Folder, from: &str, to: &str) {
    let toml = folder.read("demo/holdfast.toml");
    assert!(toml.contains(from), "{from}");
    std::fs::write(folder.path("demo/holdfast.toml"), toml.replacen(from, to, 1)).unwrap();
}

/// The problems as `field: message`.
fn problems(folder: &Folder) -> Vec<String> {
    let ran = folder.holdfast("check-config --json");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(ran.code, Some(if problems.is_empty() { 0 } else { 1 }));
    let text = |problem: &serde_json::Value| {
        assert!(problem["line"].as_u64().unwrap() > 0);
        format!("{}: {}", problem["field"].as_str().unwrap(), problem["message"].as_str().unwrap())
    };
    problems.iter().map(text).collect()
}

#[track_caller]
fn has(problems: &[String], expected: &str) {
    assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:#?}");
}

#[test]
fn a_problem_names_file_line_column_and_field() {
    let folder = Folder::with_demo();
    edit(&folder, "fsync = \"interval\"", "fsync = \"always\"");
    let ran = folder.holdfast("check-config");
    let line =
        folder.read("demo/holdfast.toml").lines().position(|line| line.starts_with("fsync")).unwrap() + 1;
    let expected = format!(
        "problem  demo/holdfast.toml:{line}:9: audit.fsync: \"always\" isn't known; allowed: \"never\", "
    );
    assert!(ran.stdout.contains(&expected), "{ran:#?}");
    ran.refused(1, "demo/holdfast.toml can't be used: 1 problem");
}

#[test]
fn the_files_that_a_configuration_names_are_looked_at() {
    let folder = Folder::with_demo();
    std::fs::write(folder.path("demo/tls/server-key.pem"), "not PEM").unwrap();
    std::fs::write(folder.path("demo/keystore.seal"), "short").unwrap();
    std::fs::remove_file(folder.path("demo/components/proxy.wasm")).unwrap();
    std::fs::remove_file(folder.path("demo/policy.cedar")).unwrap();
    let found = problems(&folder);
    has(&found, "server.tls.private_key: can't read the private key demo/tls/server-key.pem");
    has(&found, "keystore.seal: a key file of 5 bytes");
    has(&found, "components.sigv4.path: demo/components/sigv4.wasm isn't a WebAssembly component");
    has(&found, "components.proxy.path: can't read demo/components/proxy.wasm");
    has(&found, "key_store[0].policy.files[0]: can't read demo/policy.cedar");
}

#[test]
fn a_certificate_needs_its_own_key() {
    let folder = Folder::with_demo();
    std::fs::copy(folder.path("demo/tls/ca-key.pem"), folder.path("demo/tls/server-key.pem")).unwrap();
    has(&problems(&folder), "server.tls.private_key: the TLS certificate and private key can't be used");
}

#[test]
fn a_missing_seal_is_told() {
    let folder = Folder::with_demo();
    std::fs::remove_file(folder.path("demo/keystore.seal")).unwrap();
    has(&problems(&folder), "keystore.seal: can't read the seal's key file demo/keystore.seal: No such file");
    edit(&folder, "{ key_file = \"keystore.seal\" }", "{ systemd_credential = \"seal\" }");
    has(&problems(&folder), "keystore.seal: $CREDENTIALS_DIRECTORY is not set");
}

#[test]
fn compiled_code_that_others_could_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_demo();
    std::fs::create_dir(folder.path("demo/cache")).unwrap();
    std::fs::set_permissions(folder.path("demo/cache"), PermissionsExt::from_mode(0o777)).unwrap();
    has(&problems(&folder), "components.cache: demo/cache must be open to its owner only");
}
