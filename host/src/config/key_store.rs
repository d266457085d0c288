//! `[[key_store]]`: an external key store as AWS KMS sees it.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use holdfast_keystore::KeyStoreName;

use super::components::{ComponentFile, read_file};
use super::hsm::Hsm;
use super::hsm_keys::{self, HsmKeys};
use super::reader::{Entry, Section};
use super::units;

/// One `[[key_store]]`.
#[derive(Clone, Debug)]
pub struct KeyStore {
    /// Its name in the keystore, in policies and in audit records.
    pub name: KeyStoreName,
    /// What stands before `/kms/xks/v1` in its XksProxyUriPath.
    pub uri_path_prefix: UriPathPrefix,
    /// The regions that its requests may be signed for; at least one.
    pub regions: Vec<Region>,
    /// `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// GetHealthStatus's xksProxyFleetSize.
    pub fleet_size: NonZeroU32,
    /// Where its keys are in HSMs; `None` where they are in the keystore.
    pub hsm: Option<HsmKeys>,
    /// `None`: every operation with a key is refused.
    pub policy: Option<Policy>,
}

/// How many requests a key store takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Requests a second, over time.
    pub per_second: NonZeroU32,
    /// Requests at once after a quiet time.
    pub burst: NonZeroU32,
}

/// `[key_store.policy]`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The policy engine.
    pub component: ComponentFile,
    /// The document, in this order; at least one.
    pub files: Vec<PathBuf>,
    /// Bytes of decisions that are kept; 0 keeps none.
    pub cache_bytes: usize,
}

/// A text that a name's grammar refuses. Says what is allowed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} isn't {allowed}")]
pub struct InvalidName {
    text: String,
    allowed: &'static str,
}

/// What stands before `/kms/xks/v1`: empty, or `/` and characters of `a-zA-Z0-9/-_` without `//` and without `/` at
/// the end; at most 117 characters, so that the whole XksProxyUriPath has at most 128.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UriPathPrefix(Arc<str>);

/// An AWS region, such as `eu-central-1`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Region(Arc<str>);

macro_rules! name {
    ($name:ident, $allowed:literal, $valid:expr) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                match valid(text) {
                    true => Ok(Self(text.into())),
                    false => Err(InvalidName { text: text.to_owned(), allowed: $allowed }),
                }
            }
        }
    };
}

name!(
    UriPathPrefix,
    "a URI path prefix (\"\", or / and letters, digits, / - and _, without // and without / at the end, at most 117 characters)",
    |text| {
        text.is_empty()
            || (text.starts_with('/')
                && !text.ends_with('/')
                && !text.contains("//")
                && text.len() + XKS_PATH.len() <= 128
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte)))
    }
);
name!(Region, "a region (1 to 32 of lower-case letters, digits and -, such as \"eu-central-1\")", |text| {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
});

/// What follows the prefix (spec: "XKS proxy URI").
const XKS_PATH: &str = "/kms/xks/v1";

impl UriPathPrefix {
    /// The whole XksProxyUriPath: the prefix and `/kms/xks/v1`.
    pub fn xks_proxy_uri_path(&self) -> String {
        format!("{}{XKS_PATH}", self.0)
    }

    /// Whether a path can begin with both XksProxyUriPaths.
    fn collides(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.xks_proxy_uri_path() + "/", other.xks_proxy_uri_path() + "/");
        mine.starts_with(&theirs) || theirs.starts_with(&mine)
    }
}

pub fn read_all(entry: Entry<'_>, hsms: &[Hsm]) -> Option<Vec<KeyStore>> {
    let entries = entry.list()?;
    if entries.is_empty() {
        entry.problem("is empty; at least one [[key_store]] is needed");
        return None;
    }
    let mut stores: Vec<KeyStore> = Vec::new();
    let mut whole = true;
    for entry in entries {
        match entry.section().and_then(|section| read(section, &stores, hsms)) {
            Some(store) => stores.push(store),
            None => whole = false,
        }
    }
    whole.then_some(stores)
}

fn read(section: Section<'_>, before: &[KeyStore], hsms: &[Hsm]) -> Option<KeyStore> {
    let name = section.need("name").and_then(|entry| {
        let name: KeyStoreName = entry.parsed(str::parse)?;
        if before.iter().any(|store| store.name == name) {
            entry.problem(format!("{:?} names another key store too; names must be unique", name.as_str()));
        }
        Some(name)
    });
    let uri_path_prefix = section.need("uri_path_prefix").and_then(|entry| {
        let prefix: UriPathPrefix = entry.parsed(str::parse)?;
        if let Some(other) = before.iter().find(|store| store.uri_path_prefix.collides(&prefix)) {
            entry.problem(format!(
                "{:?} and the URI path {:?} of key store {} can't be told apart",
                prefix.xks_proxy_uri_path(),
                other.uri_path_prefix.xks_proxy_uri_path(),
                other.name
            ));
        }
        Some(prefix)
    });
    let regions = section.need("regions").and_then(regions);
    let rate_limit = rate_limit(&section);
    let fleet_size = section.get("fleet_size").and_then(|entry| positive(entry.integer(1..=1000)?));
    let taken = before.iter().filter_map(|store| store.hsm.as_ref()).flat_map(|keys| keys.hsms.clone());
    let hsm = hsm_keys::read_keys(&section, hsms, &taken.collect::<Vec<_>>());
    let policy = match section.has("policy") {
        true => section.section("policy").map(policy),
        false => {
            section.warn("has no policy, so every operation with a key is refused; add [key_store.policy]");
            None
        }
    };
    section.get("policy");
    section.finish();
    Some(KeyStore {
        name: name?,
        uri_path_prefix: uri_path_prefix?,
        regions: regions?,
        rate_limit,
        fleet_size: fleet_size.unwrap_or(NonZeroU32::MIN),
        hsm: hsm?,
        policy: match policy {
            None => None,
            Some(read) => Some(read?),
        },
    })
}

fn regions(entry: Entry<'_>) -> Option<Vec<Region>> {
    let items = entry.list()?;
    if items.is_empty() {
        entry.problem("is empty; at least one region is needed, such as \"eu-central-1\"");
    }
    items.iter().map(|item| item.parsed(str::parse)).collect()
}

/// Spec: "1,800 requests a second" is the quota that a key store begins with.
fn rate_limit(section: &Section<'_>) -> Option<RateLimit> {
    let rate = match section.get("rate_limit") {
        Some(entry) => entry.integer(0..=1_000_000)?,
        None => 1800,
    };
    let burst = match section.get("burst") {
        Some(entry) => entry.integer(1..=1_000_000)?,
        None => rate,
    };
    Some(RateLimit { per_second: positive(rate)?, burst: positive(burst)? })
}

fn positive(value: u64) -> Option<NonZeroU32> {
    u32::try_from(value).ok().and_then(NonZeroU32::new)
}

/// Some tens of thousands of decisions.
pub const DEFAULT_CACHE: usize = 8 * 1024 * 1024;

fn policy(section: Section<'_>) -> Option<Policy> {
    let component = section.need("component").and_then(|entry| read_file(&entry));
    let files = section.need("files").and_then(|entry| {
        let items = entry.list()?;
        if items.is_empty() {
            entry.problem("is empty; at least one policy file is needed");
        }
        items.iter().map(|item| item.path()).collect()
    });
    let cache_bytes = section
        .get("cache_bytes")
        .map_or(Some(DEFAULT_CACHE), |entry| entry.parsed(|text| units::size(text, 0..=256 * 1024 * 1024)));
    section.finish();
    Some(Policy { component: component?, files: files?, cache_bytes: cache_bytes? })
}
