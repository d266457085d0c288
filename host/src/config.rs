//! The configuration: a TOML file, read once into typed, checked values.
//!
//! Reading never stops at the first mistake: [`ConfigError::Invalid`] carries every problem with its line, column and
//! field. Paths in a [`Config`] are absolute or relative to the current folder; in the file they are relative to the
//! file's own folder.

mod audit;
mod components;
#[cfg(test)]
mod documented;
mod fleet;
mod hsm;
mod hsm_keys;
mod key_store;
mod keystore;
mod policies;
mod quirks;
mod reader;
mod seal;
mod secret;
mod server;
#[cfg(test)]
mod tests;
mod units;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use audit::{Audit, Fsync};
pub use components::{ComponentFile, Components, Sha256Digest};
pub use holdfast_keystore::KeyStoreName;
pub use hsm::Hsm;
pub use hsm_keys::HsmKeys;
pub use key_store::{DEFAULT_CACHE, InvalidName, KeyStore, Policy, RateLimit, Region, UriPathPrefix};
pub use keystore::{Keystore, SEAL_KEY};
pub use policies::{Admin, Policies};
pub use reader::Problem;
pub use seal::{HsmSeal, SealSource, SealSourceError};
pub use secret::{PinSource, SecretError};
pub use server::{Limits, Server, TlsFiles, Transport};

use reader::{Places, Reader, Section};

/// A whole configuration file, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that this was read from.
    pub file: PathBuf,
    /// Where and how requests are received.
    pub server: Server,
    /// The sealed keystore that holds keys and credentials.
    pub keystore: Keystore,
    /// The audit log.
    pub audit: Audit,
    /// Where metrics are served, on a loopback address; `None` where they aren't.
    pub metrics: Option<SocketAddr>,
    /// The request-handling components and the cache of their compiled code.
    pub components: Components,
    /// Whose policies are taken while it runs.
    pub policies: Policies,
    /// Where a running host takes commands; `None`: nowhere.
    pub admin: Option<Admin>,
    /// HSMs, with unique names.
    pub hsms: Vec<Hsm>,
    /// One or more, with unique names and URI paths.
    pub key_stores: Vec<KeyStore>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    places: Places,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}: {source}", file.display())]
    Unreadable {
        /// The path as it was given.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file's content is wrong in one or more places.
    #[error("{}", reader::lines(problems))]
    Invalid {
        /// At least one, in the file's order.
        problems: Vec<Problem>,
    },
}

impl Config {
    /// Reads and checks `file`. Opens no other file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Self::parse(file, &text)
    }

    /// Checks `text` as the content of `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(file, text);
        let config = reader.table().and_then(|table| Self::read(&reader, Section::root(&reader, &table)));
        let notes = reader.into_notes();
        match config {
            Some(config) if notes.problems.is_empty() => {
                Ok(Self { warnings: notes.warnings, places: notes.places, ..config })
            }
            _ => Err(ConfigError::Invalid { problems: notes.problems }),
        }
    }

    /// A problem with a field's value that shows only outside this file, such as a file that isn't there. `field` is
    /// named as in `key_store[0].policy.files[1]`; where the file leaves it out, the place is the file's beginning.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        let (line, column) = self.places.get(field).copied().unwrap_or((1, 1));
        Problem { file: self.file.clone(), line, column, field: field.to_owned(), message: message.into() }
    }

    /// The key store named `name`.
    pub fn key_store(&self, name: &str) -> Option<&KeyStore> {
        self.key_stores.iter().find(|store| store.name.as_str() == name)
    }

    /// Where staged policies and activations are kept.
    pub fn policies_folder(&self) -> PathBuf {
        let beside = || self.file.parent().unwrap_or(Path::new("")).join("policies");
        self.policies.folder.clone().unwrap_or_else(beside)
    }

    fn read(reader: &Reader<'_>, root: Section<'_>) -> Option<Self> {
        let server = root.need_section("server").and_then(server::read);
        let hsms = hsm::read_all(root.get("hsm"));
        let known = hsms.as_deref().unwrap_or_default();
        let keystore = root.need_section("keystore").and_then(|section| keystore::read(section, known));
        let audit = root.need_section("audit").and_then(audit::read);
        let metrics = root.section("metrics").map(audit::read_metrics);
        let components = root.need_section("components").and_then(components::read);
        let admin = root.section("admin").map(policies::read_admin);
        let policies = root.section("policies").map_or(Some(Policies::default()), policies::read);
        let key_stores = root.need("key_store").and_then(|entry| key_store::read_all(entry, known));
        root.finish();
        let (keystore, key_stores) = (keystore?, key_stores?);
        Some(Self {
            keystore,
            file: reader.file().to_owned(),
            server: server?,
            audit: audit?,
            metrics: match metrics {
                None => None,
                Some(read) => Some(read?),
            },
            components: components?,
            policies: policies?,
            admin: match admin {
                None => None,
                Some(read) => Some(read?),
            },
            hsms: hsms?,
            key_stores,
            warnings: Vec::new(),
            places: Places::new(),
        })
    }
}
