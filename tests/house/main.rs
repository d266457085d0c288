//! How the code is kept: no loops of files, none that is too long, a page for each crate. What ships is looked at, and the
//! task runner; tests are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod graph;
mod loops;
mod modules;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use modules::Crate;

/// The most that a file may have, its tests left out.
const LONGEST: usize = 350;
/// The least that a crate says of itself.
const PAGE: usize = 6;

/// Files that are longer, and why that is better than dividing them.
const LONGER: [(&str, &str); 0] = [];

/// Files that know each other, and why that stays.
const ENTWINED: [(&str, &str); 1] = [(
    "crates/pkcs11/src/hsm",
    "an HSM, its threads or process, its supervisor and the watch over its calls are one state machine: each acts on the others' state",
)];

/// Crates whose whole is a file or two, or that export nothing: what they say of themselves is as short.
const SMALL: [&str; 3] = ["crates/encode", "crates/compose", "xtask"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Packages whose code ships, and the task runner.
fn packages() -> Vec<PathBuf> {
    let root = repository();
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members = members.iter().map(|member| member.as_str().unwrap());
    members.filter(|member| !member.starts_with("tests")).map(|member| root.join(member)).collect()
}

fn crates() -> Vec<Crate> {
    let roots = packages().into_iter().flat_map(|package| {
        ["src/lib.rs", "src/main.rs"].map(|file| package.join(file)).into_iter().filter(|file| file.is_file())
    });
    roots.map(|root| Crate::read(&root)).collect()
}

fn short(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[test]
fn no_two_files_import_each_other_in_a_loop() {
    let all = crates();
    let mut found = Vec::new();
    for one in &all {
        for circle in loops::circles(&graph::of(one)) {
            let entwined = |file: &Path| ENTWINED.iter().any(|(place, _)| short(file).starts_with(place));
            if circle.iter().all(|(file, ..)| entwined(file)) {
                continue;
            }
            let lines =
                circle.iter().map(|(from, to, by)| format!("  {} -> {} by {by}", short(from), short(to)));
            found.push(format!("a loop:\n{}", lines.collect::<Vec<_>>().join("\n")));
        }
    }
    let edges: usize = all.iter().map(|one| graph::of(one).values().map(BTreeMap::len).sum::<usize>()).sum();
    assert!(edges > 300, "only {edges} imports were found: this check sees nothing");
    assert!(
        found.is_empty(),
        "{} loops; what both need goes beneath both:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Lines, without the module of tests at the end.
fn lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        {
            lines.by_ref().find(|line| *line == "}");
            continue;
        }
        count += 1;
    }
    count
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = crates()
        .iter()
        .flat_map(|one| one.files())
        .map(|file| (short(file), lines(&fs::read_to_string(file).unwrap())))
        .filter(|(name, lines)| *lines > LONGEST && !LONGER.iter().any(|(longer, _)| longer == name))
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST} lines without tests; divide by subject: {long:#?}");
}

#[test]
fn each_crate_has_a_page_that_says_what_it_must_never_do() {
    for package in packages() {
        let name = short(&package);
        if SMALL.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(package.join("src/lib.rs")).unwrap();
        let page: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(page.len() >= PAGE, "{name}: its page has {} lines", page.len());
        let page = page.join("\n");
        for needed in ["never", "export"] {
            assert!(page.contains(needed), "{name}: its page doesn't say what it {needed}s: {page}");
        }
    }
}

#[test]
fn no_module_is_public_that_only_its_own_crate_uses() {
    let root = repository();
    let listed =
        std::process::Command::new("git").args(["ls-files", "*.rs"]).current_dir(&root).output().unwrap();
    let files: Vec<PathBuf> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| root.join(line))
        .filter(|path| path.is_file())
        .collect();
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().map(|file| (file.clone(), fs::read_to_string(&file).unwrap())).collect();
    let mut unused = Vec::new();
    for package in packages().into_iter().filter(|package| package.join("src/lib.rs").is_file()) {
        let manifest: toml::Table = fs::read_to_string(package.join("Cargo.toml")).unwrap().parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().replace('-', "_");
        let own = package.join("src");
        let of_lib = |file: &Path| file.starts_with(&own) && !file.ends_with("src/main.rs");
        for line in fs::read_to_string(package.join("src/lib.rs")).unwrap().lines() {
            let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else {
                continue;
            };
            let path = format!("{name}::{module}");
            let used = |text: &str| {
                text.contains(&path)
                    || text.split(&format!("{name}::{{")).skip(1).any(|rest| {
                        let list = rest.split(';').next().unwrap_or_default();
                        list.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == module)
                    })
            };
            if !texts.iter().any(|(file, text)| !of_lib(file) && used(text)) {
                unused.push(format!("{path} ({})", short(&package)));
            }
        }
    }
    assert!(unused.is_empty(), "public, and used by nobody else: {unused:#?}");
}
