//! `holdfast component`, and the command line as a whole.

use holdfast_tests::Folder;

/// The smallest component: the magic number, version 13, layer 1. It has no imports and no exports.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// The smallest core module.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn inspect_says_what_a_component_is_and_why_the_host_refuses_it() {
    let folder = Folder::new();
    std::fs::write(folder.path("empty.wasm"), EMPTY_COMPONENT).unwrap();
    let ran = folder.holdfast("component inspect empty.wasm --json");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["size"], &report["accepted"]), (&8.into(), &false.into()));
    assert!(report["reasons"][0].as_str().unwrap().starts_with("exports none of "), "{report}");
    // What `printf '\0asm\x0d\0\x01\0' | sha256sum` prints.
    assert_eq!(report["sha256"], "24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29");
    ran.refused(1, "the host would not take empty.wasm");
}

#[test]
fn inspect_refuses_what_is_no_component() {
    let folder = Folder::new();
    std::fs::write(folder.path("module.wasm"), EMPTY_MODULE).unwrap();
    std::fs::write(folder.path("text.wasm"), "(component)").unwrap();
    folder.holdfast("component inspect module.wasm").refused(1, "module.wasm isn't a WebAssembly component");
    folder.holdfast("component inspect text.wasm").refused(1, "text.wasm isn't a WebAssembly component");
    folder.holdfast("component inspect nowhere.wasm").refused(1, "can't read nowhere.wasm: No such file");
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = Folder::new();
    let commands = [
        "init",
        "serve",
        "check-config",
        "call",
        "key",
        "credential",
        "keystore",
        "kms-config",
        "component inspect",
        "bench",
    ];
    for command in commands {
        let help = folder.holdfast(&format!("{command} --help")).done();
        assert!(
            help.contains("Example") && help.contains(&format!("holdfast {command}")),
            "{command}:\n{help}"
        );
    }
    folder.holdfast("").refused(2, "Usage: holdfast");
    folder.holdfast("serve --port 1").refused(2, "--port");
}
