//! Policy artefacts, put together as `docs/policies.md` describes them.

use std::path::{Path, PathBuf};

use holdfast_tests::{components, hostile};
use sha2::{Digest, Sha256};

/// A policy to be staged.
pub struct Artefact {
    pub file: PathBuf,
    pub digest: String,
}

/// A section's parts: kind, name, content.
type Part<'a> = (u8, &'a str, &'a str);

const DOCUMENT: u8 = 2;
const TESTS: u8 = 3;

/// Writes a Cedar policy; `tests` may be empty.
pub fn cedar(folder: &Path, name: &str, rules: &str, tests: &str) -> Artefact {
    let component = std::fs::read(components().join("policy-cedar.wasm")).unwrap();
    let manifest = format!("name = {name:?}\nversion = \"1\"\n");
    let mut parts = vec![(1, "manifest", manifest.as_str()), (DOCUMENT, "policy.cedar", rules)];
    if !tests.is_empty() {
        parts.push((TESTS, "tests.toml", tests));
    }
    write(folder, name, &component, &parts)
}

/// Writes the hostile policy with its document.
pub fn misbehaving(folder: &Path, name: &str, document: &str) -> Artefact {
    let component = std::fs::read(hostile("policy")).unwrap();
    let manifest = format!("name = {name:?}\nversion = \"1\"\n");
    write(folder, name, &component, &[(1, "manifest", &manifest), (DOCUMENT, "hostile.txt", document)])
}

/// Writes these bytes.
pub fn raw(folder: &Path, name: &str, bytes: &[u8]) -> Artefact {
    let file = folder.join(format!("{name}.wasm"));
    std::fs::write(&file, bytes).unwrap();
    let digest = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Artefact { file, digest }
}

fn write(folder: &Path, name: &str, component: &[u8], parts: &[Part<'_>]) -> Artefact {
    let mut content = vec![1];
    for (kind, name, text) in parts {
        content.push(*kind);
        for text in [name, text] {
            content.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
            content.extend_from_slice(text.as_bytes());
        }
    }
    let mut section = Vec::new();
    let title = "holdfast-policy";
    leb(&mut section, title.len());
    section.extend_from_slice(title.as_bytes());
    section.extend_from_slice(&content);
    let mut bytes = component.to_vec();
    bytes.push(0);
    leb(&mut bytes, section.len());
    bytes.extend_from_slice(&section);
    raw(folder, name, &bytes)
}

/// An unsigned LEB128 number.
fn leb(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
}
