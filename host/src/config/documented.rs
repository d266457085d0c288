//! The tables of docs/operations.md and docs/pkcs11.md have the fields that a configuration is read by, no more and no fewer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Config;

thread_local! {
    /// Every field that was asked for.
    static ASKED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Remembers a field, without the places in lists.
pub fn asked(field: &str) {
    let mut name = String::new();
    let mut inside = false;
    for c in field.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => name.push(c),
            _ => {}
        }
    }
    ASKED.with_borrow_mut(|asked| asked.insert(name));
}

/// With every table that there is, so that every field is asked for.
const WHOLE: &str = r#"
[server]
listen = "127.0.0.1:8443"
tls = { certificate = "a", private_key = "b" }
limits = { budget = "100ms" }
[keystore]
path = "k"
seal = { hsm = "h" }
[audit]
path = "a"
[metrics]
listen = "127.0.0.1:9464"
[components]
sigv4 = { path = "s" }
proxy = { path = "p" }
cache = "c"
[admin]
socket = "s"
[policies]
automatic_rollback = { failures = 20 }
[[hsm]]
name = "h"
module = "/m"
token_label = "t"
pin_file = "p"
[hsm.quirks]
iv = "host"
[[key_store]]
name = "demo"
uri_path_prefix = "/demo"
regions = ["us-east-1"]
hsm = ["h"]
hsm_keys = { id = { label = "l" } }
[key_store.policy]
component = { path = "c" }
files = ["policy.cedar"]
"#;

/// Fields whose parts stand in the text of their own row.
const BY_ITS_ROW: [&str; 6] = [
    "keystore.seal",
    "components.sigv4",
    "components.proxy",
    "key_store.policy.component",
    "policies.automatic_rollback",
    "key_store.hsm_keys",
];
/// Tables, and rows that lead to another page.
const NOT_FIELDS: [&str; 12] = [
    "server",
    "server.tls",
    "server.limits",
    "keystore",
    "audit",
    "metrics",
    "components",
    "admin",
    "policies",
    "hsm",
    "key_store",
    "key_store.policy",
];

/// The first columns of the tables whose heads begin with `head`; names that begin with a dot go on from the row before.
fn rows(page: &str, head: &str, within: &str, found: &mut BTreeMap<String, String>) {
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line.starts_with(head)) {
        let mut place = within.to_owned();
        for line in lines.by_ref().skip(1).take_while(|line| line.starts_with('|')) {
            let first = line.split('|').nth(1).unwrap_or_default();
            for word in first.split('`').skip(1).step_by(2).filter(|word| !word.starts_with('[')) {
                let name = match word.strip_prefix('.') {
                    Some(rest) => format!("{place}.{rest}"),
                    None if within.is_empty() => word.to_owned(),
                    None => format!("{within}.{word}"),
                };
                if within.is_empty() {
                    place = name.rsplit_once('.').map_or(String::new(), |(place, _)| place.to_owned());
                }
                assert!(found.insert(name.clone(), line.to_owned()).is_none(), "{name} has two rows");
            }
        }
    }
}

#[test]
fn the_documentation_has_the_fields_that_are_read_and_no_others() {
    ASKED.with_borrow_mut(BTreeSet::clear);
    let parsed = Config::parse(Path::new("holdfast.toml"), WHOLE);
    assert!(parsed.is_ok(), "{parsed:#?}");
    let read = ASKED.with_borrow(BTreeSet::clone);

    let mut documented = BTreeMap::new();
    let operations = include_str!("../../../docs/operations.md");
    let pkcs11 = include_str!("../../../docs/pkcs11.md");
    rows(operations, "| field | default | meaning", "", &mut documented);
    rows(pkcs11, "| field of `[[hsm]]`", "hsm", &mut documented);
    rows(pkcs11, "| field of `[[key_store]]`", "key_store", &mut documented);
    rows(pkcs11, "| field | default | |", "hsm.quirks", &mut documented);

    for field in read.iter().filter(|field| !NOT_FIELDS.contains(&field.as_str())) {
        let by_row = BY_ITS_ROW.iter().find(|row| field.starts_with(&format!("{row}.")));
        match by_row {
            Some(row) => {
                let last = field.rsplit('.').next().unwrap_or_default();
                let text = documented.get(*row).map_or("", String::as_str);
                assert!(text.contains(last), "{field} is read; the row of {row} doesn't name it: {text}");
            }
            None => assert!(documented.contains_key(field), "{field} is read, and no table has it"),
        }
    }
    for field in documented.keys() {
        assert!(read.contains(field), "{field} is documented, and nothing reads it");
    }
}
