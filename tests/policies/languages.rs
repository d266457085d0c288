//! The same policy in four languages. `cargo xtask test` builds those that aren't Cedar.

use std::path::{Path, PathBuf};

use holdfast_tests::Folder;

fn built(language: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/policies").join(language);
    if !folder.join(".built").is_file() {
        println!("skipped: the example policy in {language} isn't built; `cargo xtask test` tells why");
        return None;
    }
    Some(folder)
}

fn decides_as_cedar_does(language: &str, snapshot: bool) {
    let Some(path) = built(language) else { return };
    let folder = Folder::new();
    let tested = folder.policy(&format!("test {} --every-rule --json", path.display())).json();
    assert_eq!((&tested["passed"], &tested["failed"]), (&8.into(), &serde_json::json!([])), "{language}");
    let report = folder.policy(&format!("bench {} --count 20 --json", path.display())).json();
    assert_eq!(report["snapshot"], snapshot, "{language}");
    println!("{language}: {report:#}");
}

#[test]
fn rust() {
    decides_as_cedar_does("rust", true);
}

#[test]
fn javascript() {
    decides_as_cedar_does("javascript", true);
}

#[test]
fn python_with_everything_denied() {
    decides_as_cedar_does("python", false);
}

/// A new policy has these files, and all that its own files name.
#[track_caller]
fn is_made(language: &str, files: &[&str]) {
    let folder = Folder::new();
    let told = folder.policy(&format!("new payments --lang {language}")).done();
    assert!(told.contains("payments/README.md"), "{told}");
    let read = |name: &str| std::fs::read_to_string(folder.path("payments").join(name)).unwrap();
    for file in
        files.iter().chain(&["README.md", "policy.toml", "cases.toml", "wit/policy.wit", ".gitignore"])
    {
        assert!(!read(file).is_empty(), "{language}: {file}");
    }
    let project: toml::Table = read("policy.toml").parse().unwrap();
    assert_eq!(project["name"].as_str(), Some("payments"));
    for file in project["tests"].as_array().unwrap() {
        read(file.as_str().unwrap());
    }
    let steps = read("README.md");
    assert!(steps.contains("holdfast policy test") && steps.contains("holdfast policy pack"), "{steps}");
    // What is built is where the project looks for it.
    let component = Path::new(project["component"].as_str().unwrap()).parent().unwrap();
    let built = format!("/{}", component.iter().next().unwrap().to_str().unwrap());
    assert!(read(".gitignore").lines().any(|line| line == built), "{language}: {built}");
}

#[test]
fn a_new_policy_in_rust_has_all_that_it_is_built_from() {
    is_made("rust", &["Cargo.toml", "src/lib.rs"]);
}

#[test]
fn a_new_policy_in_javascript_has_all_that_it_is_built_from() {
    is_made("js", &["package.json", "build.mjs", "policy.js"]);
}

#[test]
fn a_new_policy_in_python_has_all_that_it_is_built_from() {
    is_made("python", &["policy.py"]);
}
