//! A policy in one file: a component, and what it is to decide by.
//!
//! The file is the component's binary with one more section after its last: a custom one named `holdfast-policy`, which
//! no tool that reads components minds (WebAssembly core specification, 5.5.3). Its content is a byte 1 (this format) and
//! then parts: a kind (1 manifest, 2 document, 3 tests), the length of the name and the name, the length of the content and
//! the content; lengths are 32-bit little-endian, texts are UTF-8. The manifest comes first, is called `manifest`, and is TOML.
//!
//! The file is named by its SHA-256. What stands before the section is the component, byte for byte.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::artefact::source::Source;
use crate::digest::hex;

/// Bytes of an artefact.
pub const ARTEFACT_LIMIT: usize = 64 * 1024 * 1024;
/// Bytes of the section.
const SECTION_LIMIT: usize = 16 * 1024 * 1024;
const SECTION: &str = "holdfast-policy";
const FORMAT: u8 = 1;
/// The name of the manifest's part.
const MANIFEST: &str = "manifest";
/// What every component begins with: the magic number, and the version and layer of components.
const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;
/// A component's imports (component model, Binary.md).
const IMPORT: u8 = 10;
const WASI: &[u8] = b"wasi:";
const NAME_LIMIT: usize = 128;
const TEXT_LIMIT: usize = 4096;

/// What an artefact is called by people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Such as `payments`.
    pub name: String,
    /// As the author counts them.
    pub version: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// A policy's component with its document and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// `None` for a component on its own.
    pub manifest: Option<Manifest>,
    /// The document's files, in their order.
    pub document: Vec<Source>,
    /// Files of cases (TOML).
    pub tests: Vec<Source>,
}

/// Why something is no artefact.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactError {
    /// It doesn't begin as a component does.
    #[error("it isn't a WebAssembly component; pack one with `holdfast policy pack`")]
    NoComponent,
    /// Compiled code, which is never taken from anywhere.
    #[error("it is compiled code; only WebAssembly is taken: give the .wasm that it was compiled from")]
    CompiledCode,
    /// It ends too early, or says something that can't be.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
    /// It is larger than anything that makes sense.
    #[error("it has more than {ARTEFACT_LIMIT} bytes, or {SECTION_LIMIT} besides the component")]
    TooLarge,
    /// Something follows the section of ours, or there are two.
    #[error("the section {SECTION} isn't the last, so what it belongs to is unclear; pack it again")]
    NotLast,
    /// By a later version.
    #[error("its section {SECTION} has format {0}; this version knows {FORMAT}")]
    Format(u8),
    /// A part that doesn't belong.
    #[error("{0}")]
    Part(String),
}

/// The name of an artefact: the SHA-256 of the whole file in lower-case hexadecimal digits.
pub fn artefact_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Artefact {
    /// Takes an artefact apart. Its component isn't looked into.
    ///
    /// # Errors
    /// Where it isn't a component, or its section of ours isn't as described above.
    pub fn read(bytes: &[u8]) -> Result<Artefact, ArtefactError> {
        if bytes.len() > ARTEFACT_LIMIT {
            return Err(ArtefactError::TooLarge);
        }
        if bytes.starts_with(b"\x7fELF") {
            return Err(ArtefactError::CompiledCode);
        }
        if !bytes.starts_with(&PREAMBLE) {
            return Err(ArtefactError::NoComponent);
        }
        let Some((start, content)) = find_section(bytes)? else {
            return Ok(Artefact {
                component: bytes.to_vec(),
                manifest: None,
                document: Vec::new(),
                tests: Vec::new(),
            });
        };
        let component = bytes.get(..start).unwrap_or_default().to_vec();
        let base = bytes.len() - content.len();
        let mut cursor = Cursor { bytes: content, at: 0, base };
        match cursor.byte()? {
            FORMAT => {}
            other => return Err(ArtefactError::Format(other)),
        }
        let mut parts = Vec::new();
        while !cursor.is_at_end() {
            let kind = cursor.byte()?;
            let (name, text) = (cursor.text()?, cursor.text()?);
            parts.push((kind, Source { name, text }));
        }
        let artefact = Artefact::of_parts(component, parts)?;
        artefact.check()?;
        Ok(artefact)
    }

    fn of_parts(component: Vec<u8>, parts: Vec<(u8, Source)>) -> Result<Artefact, ArtefactError> {
        let part = |text: &str| ArtefactError::Part(text.to_owned());
        let mut parts = parts.into_iter().peekable();
        let manifest = match parts.next() {
            Some((1, source)) if source.name == MANIFEST => toml::from_str(&source.text)
                .map_err(|error| ArtefactError::Part(format!("its manifest: {}", error.message())))?,
            _ => return Err(part("its first part isn't a manifest")),
        };
        let (mut document, mut tests) = (Vec::new(), Vec::new());
        for (kind, source) in parts {
            match kind {
                2 if tests.is_empty() => document.push(source),
                3 => tests.push(source),
                _ => return Err(part("its parts are of unknown kinds or out of order")),
            }
        }
        Ok(Artefact { component, manifest: Some(manifest), document, tests })
    }

    /// Puts an artefact together; the same parts always give the same bytes.
    ///
    /// # Errors
    /// Where a name isn't one, or it would be too large.
    pub fn encode(&self) -> Result<Vec<u8>, ArtefactError> {
        self.check()?;
        let Some(manifest) = &self.manifest else { return Ok(self.component.clone()) };
        if find_section(&self.component)?.is_some() {
            return Err(ArtefactError::Part("the component is an artefact already".to_owned()));
        }
        let mut content = vec![FORMAT];
        let text = toml::to_string(manifest)
            .map_err(|error| ArtefactError::Part(format!("the manifest: {error}")))?;
        put_part(&mut content, 1, MANIFEST, &text)?;
        for (kind, sources) in [(2, &self.document), (3, &self.tests)] {
            for source in sources {
                put_part(&mut content, kind, &source.name, &source.text)?;
            }
        }
        let mut body = Vec::with_capacity(content.len() + 32);
        put_leb(&mut body, SECTION.len());
        body.extend_from_slice(SECTION.as_bytes());
        body.extend_from_slice(&content);
        if body.len() > SECTION_LIMIT || self.component.len() + body.len() > ARTEFACT_LIMIT - 16 {
            return Err(ArtefactError::TooLarge);
        }
        let mut bytes = self.component.clone();
        bytes.push(CUSTOM);
        put_leb(&mut bytes, body.len());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    fn check(&self) -> Result<(), ArtefactError> {
        if let Some(Manifest { name, version, description }) = &self.manifest {
            check_name("name", name)?;
            check_name("version", version)?;
            if description.len() > TEXT_LIMIT || description.chars().any(|c| c.is_control() && c != '\n') {
                let message = format!("the description has at most {TEXT_LIMIT} bytes, all printable");
                return Err(ArtefactError::Part(message));
            }
        }
        for (what, sources) in [("document", &self.document), ("tests", &self.tests)] {
            let mut seen = HashSet::new();
            for source in sources {
                check_name(what, &source.name)?;
                if !seen.insert(&source.name) {
                    return Err(ArtefactError::Part(format!("the {what} has {:?} twice", source.name)));
                }
            }
        }
        Ok(())
    }
}

/// Names are shown in logs and may become file names.
fn check_name(what: &str, name: &str) -> Result<(), ArtefactError> {
    let fits = !name.is_empty()
        && name.len() <= NAME_LIMIT
        && !name.chars().any(|c| c.is_control() || c == '/' || c == '\\')
        && name != "."
        && name != "..";
    match fits {
        true => Ok(()),
        false => Err(ArtefactError::Part(format!(
            "{what}: {name:?} isn't a name (1 to {NAME_LIMIT} bytes without /, \\ and control characters)"
        ))),
    }
}

/// Where our section begins, and its content.
fn find_section(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, ArtefactError> {
    if !bytes.starts_with(&PREAMBLE) {
        return Err(ArtefactError::NoComponent);
    }
    let mut cursor = Cursor { bytes, at: PREAMBLE.len(), base: 0 };
    let mut found = None;
    while !cursor.is_at_end() {
        if found.is_some() {
            return Err(ArtefactError::NotLast);
        }
        let start = cursor.at;
        let id = cursor.byte()?;
        let size = cursor.leb()?;
        let body = cursor.take(size)?;
        if id != CUSTOM {
            continue;
        }
        let mut custom = Cursor { bytes: body, at: 0, base: cursor.at - size };
        let length = custom.leb()?;
        if custom.take(length)? == SECTION.as_bytes() {
            if body.len() > SECTION_LIMIT {
                return Err(ArtefactError::TooLarge);
            }
            found = Some((start, body.get(custom.at..).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Whether a component imports anything of WASI, as far as that shows without compiling it.
pub(crate) fn imports_wasi(component: &[u8]) -> bool {
    let mut cursor = Cursor { bytes: component, at: PREAMBLE.len(), base: 0 };
    let mut section = || -> Result<(u8, &[u8]), ArtefactError> {
        let id = cursor.byte()?;
        let size = cursor.leb()?;
        Ok((id, cursor.take(size)?))
    };
    while let Ok((id, body)) = section() {
        if id == IMPORT && body.windows(WASI.len()).any(|bytes| bytes == WASI) {
            return true;
        }
    }
    false
}

fn put_part(content: &mut Vec<u8>, kind: u8, name: &str, text: &str) -> Result<(), ArtefactError> {
    content.push(kind);
    for text in [name, text] {
        let length = u32::try_from(text.len()).map_err(|_| ArtefactError::TooLarge)?;
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

fn put_leb(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads on from a place.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the file, for messages.
    base: usize,
}

impl<'a> Cursor<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn damaged(&self) -> ArtefactError {
        ArtefactError::Damaged(self.base + self.at)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ArtefactError> {
        let end = self.at.checked_add(length).ok_or_else(|| self.damaged())?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| self.damaged())?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ArtefactError> {
        self.take(1)?.first().copied().ok_or_else(|| self.damaged())
    }

    /// An unsigned LEB128 number of 32 bits (core specification, 5.2.2).
    fn leb(&mut self) -> Result<usize, ArtefactError> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map(|value| value as usize).map_err(|_| self.damaged());
            }
        }
        Err(self.damaged())
    }

    fn text(&mut self) -> Result<String, ArtefactError> {
        let length = self.take(4)?.try_into().map_err(|_| self.damaged())?;
        let bytes = self.take(u32::from_le_bytes(length) as usize)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.damaged())
    }
}

#[cfg(test)]
mod tests;
