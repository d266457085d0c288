//! `[components]`: the WebAssembly files that handle requests.

use std::fmt;
use std::path::PathBuf;

use super::reader::{Entry, Section};

/// `[components]`.
#[derive(Clone, Debug)]
pub struct Components {
    /// Reads the claim out of an `Authorization` header.
    pub sigv4: ComponentFile,
    /// Speaks the XKS protocol.
    pub proxy: ComponentFile,
    /// A folder for compiled code, private to the user (mode 0700).
    pub cache: PathBuf,
}

/// A component's file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ComponentFile {
    /// A WebAssembly component, binary form.
    pub path: PathBuf,
    /// The digest that the file must have; any where absent.
    pub sha256: Option<Sha256Digest>,
}

/// A SHA-256 digest, shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub fn read(section: Section<'_>) -> Option<Components> {
    let sigv4 = section.need("sigv4").and_then(|entry| read_file(&entry));
    let proxy = section.need("proxy").and_then(|entry| read_file(&entry));
    let cache = section.need("cache").and_then(|entry| entry.path());
    section.finish();
    Some(Components { sigv4: sigv4?, proxy: proxy?, cache: cache? })
}

pub fn read_file(entry: &Entry<'_>) -> Option<ComponentFile> {
    let section = entry.section()?;
    let path = section.need("path").and_then(|entry| entry.path());
    let sha256 = section.get("sha256").map(|entry| entry.parsed(digest));
    section.finish();
    let sha256 = match sha256 {
        None => None,
        Some(read) => Some(read?),
    };
    Some(ComponentFile { path: path?, sha256 })
}

fn digest(text: &str) -> Result<Sha256Digest, String> {
    let wrong = || {
        format!(
            "{text:?} isn't a SHA-256 digest (64 hexadecimal digits); `holdfast component inspect` prints it"
        )
    };
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(Sha256Digest(digest))
}
