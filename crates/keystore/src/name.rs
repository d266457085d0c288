//! The names of things, in the alphabets of the XKS specification.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use holdfast_secret::Secret;

use crate::random::{Random, RandomError};

/// Why a text isn't such a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too short or too long.
    #[error("{what} of {found} characters; it has {min} to {max} of {alphabet}")]
    Length {
        /// What it should be, such as `a key id`.
        what: &'static str,
        /// How long it is.
        found: usize,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
        /// The characters allowed.
        alphabet: &'static str,
    },
    /// A character outside the alphabet. The character itself isn't shown: it could be a secret's.
    #[error(
        "{what} with a character that isn't allowed at position {position}; it has {min} to {max} of {alphabet}"
    )]
    Character {
        /// What it should be.
        what: &'static str,
        /// Where the character stands, counted from 1.
        position: usize,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
        /// The characters allowed.
        alphabet: &'static str,
    },
    /// HTTP clients resolve these path segments away.
    #[error("a key id can't be `.` or `..`: clients take them out of paths")]
    Dots,
}

/// The shape of one kind of name.
struct Shape {
    what: &'static str,
    min: usize,
    max: usize,
    alphabet: &'static str,
    allowed: fn(u8) -> bool,
}

impl Shape {
    fn check(&self, text: &[u8]) -> Result<(), NameError> {
        let &Shape { what, min, max, alphabet, allowed } = self;
        if let Some(index) = text.iter().position(|&byte| !allowed(byte)) {
            return Err(NameError::Character { what, position: index + 1, min, max, alphabet });
        }
        if !(min..=max).contains(&text.len()) {
            return Err(NameError::Length { what, found: text.len(), min, max, alphabet });
        }
        Ok(())
    }
}

const KEY_ID: Shape = Shape {
    what: "a key id",
    min: 1,
    max: 128,
    alphabet: "A-Z a-z 0-9 - . _",
    allowed: |byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte),
};

const KEY_STORE_NAME: Shape = Shape {
    what: "a key store's name",
    min: 1,
    max: 64,
    alphabet: "A-Z a-z 0-9 - _",
    allowed: |byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
};

const ACCESS_KEY_ID: Shape = Shape {
    what: "an access key id",
    min: 20,
    max: 30,
    alphabet: "A-Z 2-7",
    allowed: |byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte),
};

const SECRET_ACCESS_KEY: Shape = Shape {
    what: "a secret access key",
    min: 43,
    max: 64,
    alphabet: "A-Z a-z 0-9 / + =",
    allowed: |byte| byte.is_ascii_alphanumeric() || b"/+=".contains(&byte),
};

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// The external id of a key: 1 to 128 of `A-Za-z0-9-._`, but not `.` or `..`.
    KeyId,
    |text| match text {
        "." | ".." => Err(NameError::Dots),
        _ => KEY_ID.check(text.as_bytes()),
    }
);

text_name!(
    /// The name of a key store: 1 to 64 of `A-Za-z0-9-_`.
    KeyStoreName,
    |text| KEY_STORE_NAME.check(text.as_bytes())
);

text_name!(
    /// The public half of a credential: 20 to 30 of `A-Z2-7`.
    AccessKeyId,
    |text| ACCESS_KEY_ID.check(text.as_bytes())
);

impl AccessKeyId {
    /// A new one of 20 characters.
    pub fn generate(random: &mut (impl Random + ?Sized)) -> Result<AccessKeyId, RandomError> {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bytes: [u8; 20] = crate::random::array(random)?;
        let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
        Ok(AccessKeyId(text.into()))
    }
}

/// The secret half of a credential: 43 to 64 of `A-Za-z0-9/+=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretAccessKey(Secret);

impl SecretAccessKey {
    /// Checks the text. The caller wipes its own copy.
    pub fn parse(text: &[u8]) -> Result<SecretAccessKey, NameError> {
        SECRET_ACCESS_KEY.check(text)?;
        Ok(SecretAccessKey(Secret::copy_from(text)))
    }

    /// A new one of 43 characters, 258 random bits.
    pub fn generate(random: &mut (impl Random + ?Sized)) -> Result<SecretAccessKey, RandomError> {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        Secret::try_with_len(43, |text| {
            random.fill(text)?;
            text.iter_mut().for_each(|byte| *byte = ALPHABET[usize::from(*byte & 63)]);
            Ok(())
        })
        .map(SecretAccessKey)
    }

    /// The characters, all ASCII.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// The characters as text.
    pub fn expose_str(&self) -> &str {
        // Always UTF-8, by the alphabet.
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
