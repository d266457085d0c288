//! docs/dependencies.md says of each direct dependency why it is there. This keeps it true: each of them stands in the first
//! column of one of its tables, and nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifest(folder: &Path) -> Table {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// What a manifest depends on, in all of its tables.
fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let of_kinds = |table: &Table| kinds.map(|kind| table.get(kind).and_then(Value::as_table).cloned());
    tables.flat_map(of_kinds).flatten().flatten().collect()
}

/// Direct dependencies by name, without the workspace's own packages.
fn direct() -> BTreeSet<String> {
    let root = manifest(&repository());
    let workspace = root["workspace"].as_table().unwrap();
    let shared = workspace["dependencies"].as_table().unwrap().clone();
    let members = workspace["members"].as_array().unwrap();
    let members = members.iter().flat_map(|member| {
        let folder = repository().join(member.as_str().unwrap());
        dependencies(&manifest(&folder)).into_iter().filter(|(_, how)| how.get("workspace").is_none())
    });
    let foreign = shared.into_iter().chain(members).filter(|(_, how)| how.get("path").is_none());
    foreign.map(|(name, _)| name).collect()
}

/// What stands between backticks in the first column of the page's tables.
fn told() -> BTreeSet<String> {
    let page = fs::read_to_string(repository().join("docs/dependencies.md")).unwrap();
    let first =
        |line: &str| line.strip_prefix("| ").and_then(|line| line.split('|').next()).map(str::to_owned);
    let names = |cell: String| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    page.lines().filter_map(first).flat_map(names).filter(|name| !name.starts_with("holdfast-")).collect()
}

#[test]
fn each_direct_dependency_has_its_reason_on_the_page() {
    let missing: Vec<String> = direct().difference(&told()).cloned().collect();
    assert!(missing.is_empty(), "docs/dependencies.md doesn't say why there is {}", missing.join(", "));
}

#[test]
fn what_is_no_dependency_any_more_is_not_on_the_page() {
    let stale: Vec<String> = told().difference(&direct()).cloned().collect();
    assert!(stale.is_empty(), "docs/dependencies.md tells of {}, on which nothing depends", stale.join(", "));
}
