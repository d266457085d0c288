//! The same policy in four languages. `cargo xtask test` builds those that aren't Cedar.

use std::path::{Path, PathBuf};

use crate::program::Folder;

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
