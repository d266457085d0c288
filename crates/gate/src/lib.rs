//! The gate's rules: everything that is checked natively before a request may touch a key.
//!
//! Pure functions and values, without I/O, clock or randomness, so that every home of the gate (the native host, a
//! gate component) applies the very same rules. The way of a request through the modules:
//!
//! [`target`] (path grammar) -> [`sigv4`] (head, then body) -> [`body`] (strict reading) -> [`query`] (facts for the
//! policy) -> [`aead`] (framing of the AAD, CDIV) -> [`reply`] (what may leave) -> [`record`] (what is written of it).

pub mod aead;
pub mod arn;
pub mod body;
pub mod error;
pub mod query;
pub mod record;
pub mod reply;
pub mod sigv4;
pub mod strict;
pub mod target;

pub use error::{ErrorName, Refusal};
