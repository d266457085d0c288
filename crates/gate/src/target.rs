//! The grammar of the request target, byte for byte (checklist T1, T4, T5).
//!
//! Only unreserved characters and slashes pass: no `%`, no `?`, no empty segment, no `.` or `..`. So every target has
//! one spelling, the canonical URI of SigV4 is the target itself, and nothing downstream can read another path in it.

/// The end of every key store's URI path (spec, section "API operations").
pub const API_PATH: &str = "/kms/xks/v1";
/// The longest `XksProxyUriPath`, in characters.
pub const URI_PATH_LIMIT: usize = 128;
/// The longest URI, in characters.
pub const URI_LIMIT: usize = 256;
/// The longest external key id, in characters.
pub const KEY_ID_LIMIT: usize = 128;

/// A request target, taken apart: `/prefix` + `/kms/xks/v1` + `tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The key store's URI path prefix: empty, or `/` and more.
    pub prefix: &'a str,
    /// What follows the key store's URI path: `/health`, `/keys/ID/encrypt`, or something that no API has.
    pub tail: &'a str,
}

/// Why a target is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Over 256 characters.
    #[error("the request path is longer than 256 characters")]
    Long,
    /// Doesn't start with a slash: absolute form, `*`, or an authority.
    #[error("the request target must be a path that starts with /")]
    Form,
    /// A byte outside `A-Za-z0-9-._/`.
    #[error("the request path may hold only A-Z, a-z, 0-9, '-', '.', '_' and '/'")]
    Character,
    /// An empty, `.` or `..` segment.
    #[error("the request path has an empty, '.' or '..' segment")]
    Segment,
    /// No `/kms/xks/v1` in it.
    #[error("the request path must be [/prefix]/kms/xks/v1/...")]
    NoApi,
}

impl<'a> Target<'a> {
    /// Reads the path and query of a request line as received.
    pub fn parse(path: &'a str) -> Result<Target<'a>, TargetFault> {
        if path.len() > URI_LIMIT {
            return Err(TargetFault::Long);
        }
        if !path.starts_with('/') {
            return Err(TargetFault::Form);
        }
        if !path.bytes().all(|b| is_unreserved(b) || b == b'/') {
            return Err(TargetFault::Character);
        }
        if path[1..].split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(TargetFault::Segment);
        }
        // The last occurrence: no tail of the API has another one in it, a prefix may.
        let at = path.rfind("/kms/xks/v1/").ok_or(TargetFault::NoApi)?;
        let (prefix, rest) = path.split_at(at);
        Ok(Target { prefix, tail: &rest[API_PATH.len()..] })
    }

    /// What the tail asks for, if it is an API's.
    pub fn call(&self) -> Option<Call<'a>> {
        if self.tail == "/health" {
            return Some(Call::Health);
        }
        let (key_id, name) = self.tail.strip_prefix("/keys/")?.split_once('/')?;
        if !is_key_id(key_id) {
            return None;
        }
        let operation = match name {
            "metadata" => Operation::GetKeyMetadata,
            "encrypt" => Operation::Encrypt,
            "decrypt" => Operation::Decrypt,
            _ => return None,
        };
        Some(Call::Key { key_id, operation })
    }
}

/// One of the four APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// GetHealthStatus.
    Health,
    /// An operation on a key.
    Key {
        /// The external key id.
        key_id: &'a str,
        /// What to do with it.
        operation: Operation,
    },
}

/// [`Call`], kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// GetHealthStatus.
    Health,
    /// An operation on a key.
    Key {
        /// The external key id.
        key_id: String,
        /// What to do with it.
        operation: Operation,
    },
}

impl Called {
    /// As it was.
    pub fn call(&self) -> Call<'_> {
        match self {
            Called::Health => Call::Health,
            Called::Key { key_id, operation } => Call::Key { key_id, operation: *operation },
        }
    }
}

impl From<Call<'_>> for Called {
    fn from(call: Call<'_>) -> Called {
        match call {
            Call::Health => Called::Health,
            Call::Key { key_id, operation } => Called::Key { key_id: key_id.to_owned(), operation },
        }
    }
}

pub use crate::query::Operation;

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')
}

/// Whether `text` is an external key id: 1 to 128 of `A-Za-z0-9-._`, and neither `.` nor `..`.
pub fn is_key_id(text: &str) -> bool {
    (1..=KEY_ID_LIMIT).contains(&text.len()) && text.bytes().all(is_unreserved) && !matches!(text, "." | "..")
}

/// Whether `text` can be a key store's prefix: empty, or segments of `a-zA-Z0-9-_` each after one slash, so short that
/// prefix and API path fit 128 characters.
pub fn is_uri_path_prefix(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    text.len() + API_PATH.len() <= URI_PATH_LIMIT
        && text.starts_with('/')
        && text[1..].split('/').all(|segment| {
            !segment.is_empty()
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_taken_apart_at_the_last_api_path() {
        let target = Target::parse("/a/kms/xks/v1/b/kms/xks/v1/keys/k.1/encrypt").unwrap();
        assert_eq!(target.prefix, "/a/kms/xks/v1/b");
        assert_eq!(target.call(), Some(Call::Key { key_id: "k.1", operation: Operation::Encrypt }));
        assert_eq!(Target::parse("/kms/xks/v1/health").unwrap().call(), Some(Call::Health));
        assert_eq!(Target::parse("/kms/xks/v1/health/x").unwrap().call(), None);
    }

    #[test]
    fn other_spellings_are_refused() {
        use TargetFault::*;
        for (path, fault) in [
            ("/kms/xks/v1/keys/a%2fb/encrypt", Character),
            ("/kms/xks/v1/health?x=1", Character),
            ("/kms/xks/v1/health#x", Character),
            ("/kms//xks/v1/health", Segment),
            ("/kms/xks/v1/health/", Segment),
            ("/kms/xks/v1/keys/../encrypt", Segment),
            ("/kms/xks/v1/keys/./encrypt", Segment),
            ("http://h/kms/xks/v1/health", Form),
            ("*", Form),
            ("/", Segment),
            ("/kms/xks/v2/health", NoApi),
        ] {
            assert_eq!(Target::parse(path), Err(fault), "{path}");
        }
        assert_eq!(Target::parse(&format!("/kms/xks/v1/{}", "a".repeat(245))), Err(Long));
    }

    #[test]
    fn prefixes_follow_the_specification() {
        for good in ["", "/a", "/a-b/C_9"] {
            assert!(is_uri_path_prefix(good), "{good}");
        }
        for bad in ["a", "/", "/a/", "//a", "/a//b", "/a.b", "/a%"] {
            assert!(!is_uri_path_prefix(bad), "{bad}");
        }
        assert!(is_uri_path_prefix(&format!("/{}", "a".repeat(116))));
        assert!(!is_uri_path_prefix(&format!("/{}", "a".repeat(117))));
    }

    proptest! {
        #[test]
        fn parsing_loses_nothing_and_never_panics(path in "[/a-zA-Z0-9._%?-]{0,80}|.{0,80}") {
            if let Ok(target) = Target::parse(&path) {
                prop_assert_eq!(format!("{}{}{}", target.prefix, API_PATH, target.tail), path);
            }
        }
    }
}
