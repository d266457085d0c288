//! docs/conformance.md says which test shows which requirement. This keeps it true: every requirement has a row, and
//! every test that a row names is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The requirements, by the letter of their chapter and how many it has.
const CHAPTERS: [(&str, usize); 7] = [("T", 9), ("A", 6), ("O", 10), ("E", 1), ("D", 2), ("L", 2), ("K", 1)];
const STATES: [&str; 3] = ["done", "partly", "not yet"];

struct Row {
    tests: Vec<String>,
    state: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page's rows: `| id | requirement | tests | state |`.
fn rows() -> BTreeMap<String, Row> {
    let page = fs::read_to_string(repository().join("docs/conformance.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, requirement, tests, state] = cells[..] else { panic!("four cells: {line}") };
        let is_id =
            id.starts_with(|first: char| first.is_ascii_uppercase()) && id[1..].parse::<usize>().is_ok();
        if !is_id {
            continue;
        }
        assert!(!requirement.is_empty(), "{id}");
        // Between backticks.
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let row = Row { tests, state: state.to_owned() };
        assert!(rows.insert(id.to_owned(), row).is_none(), "{id} has two rows");
    }
    rows
}

/// The names of all test functions of the repository.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut folders: Vec<PathBuf> =
        ["tests", "crates", "components", "host"].map(|folder| repository().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                tests.extend(tests_in(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    tests
}

fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            let signature =
                lines.find(|line| !line.starts_with("#[") && !line.starts_with("//")).unwrap_or_default();
            let name = signature.trim_start_matches("async ").strip_prefix("fn ");
            names.extend(name.and_then(|name| name.split_once('(')).map(|(name, _)| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_requirement_has_a_row() {
    let wanted = CHAPTERS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")));
    let wanted: BTreeSet<String> = wanted.collect();
    let found: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_test_that_a_row_names_is_there() {
    let tests = tests();
    for (id, row) in rows() {
        for test in &row.tests {
            assert!(tests.contains(test), "{id} names the test {test}, which isn't there");
        }
    }
}

#[test]
fn every_row_has_a_state_and_what_is_done_has_a_test() {
    for (id, row) in rows() {
        let state = STATES.iter().find(|state| row.state.starts_with(**state));
        let state = state.unwrap_or_else(|| panic!("{id}: {:?} is none of {STATES:?}", row.state));
        assert!(*state == "not yet" || !row.tests.is_empty(), "{id} is {state} and has no test");
        assert!(*state == "done" || row.state.len() > state.len(), "{id} is {state} and doesn't say why");
    }
}

#[test]
fn a_test_by_a_requirements_name_has_its_row() {
    let rows = rows();
    let named: BTreeSet<&String> = rows.values().flat_map(|row| &row.tests).collect();
    let source = repository().join("tests/conformance");
    for entry in fs::read_dir(source).unwrap() {
        for test in tests_in(&fs::read_to_string(entry.unwrap().path()).unwrap()) {
            assert!(named.contains(&test), "{test} is in no row");
        }
    }
}
