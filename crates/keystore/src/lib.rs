//! The sealed software keystore: keys and credentials in one file, and XAES-256-GCM with them.
//!
//! - [`Contents`] is what a keystore holds: [`Key`]s and [`Credential`]s by key store. Its changes are plain method
//!   calls in memory.
//! - A [`Seal`] (a passphrase, a key file, a systemd credential, a key in an HSM) closes the contents into bytes and opens them:
//!   [`sealed::seal`] and [`sealed::open`], without files, clock or randomness of their own, so that they work on wasm32.
//! - [`KeystoreFile`] keeps the sealed bytes in a file that survives a kill at any instant (not on wasm32).
//!
//! docs/keystore-format.md has the format byte by byte.
//!
//! What it must never do: overwrite a file that it didn't read, take an older state for the newest, give a caller key material (keys
//! leave only sealed), use an IV twice, or put a secret into `Debug` or an error.
//!
//! It exports those three, [`operations`] with keys for both homes of the gate, and the names' and errors' types.

mod crypto;
mod encoding;
mod key;
mod name;
pub mod operations;
mod random;
pub mod seal;
pub mod sealed;

mod contents;
#[cfg(test)]
mod fixtures;
mod id;
mod xaes;

#[cfg(not(target_arch = "wasm32"))]
mod file;

pub use contents::{Contents, ContentsError, Credential, KeyStore};
#[cfg(not(target_arch = "wasm32"))]
pub use file::{FileError, KeystoreFile, Restored};
pub use key::{Encrypted, Key, KeyError, MaterialKind, Status, Usage, Version};
pub use name::{AccessKeyId, KeyId, KeyStoreName, NameError, SecretAccessKey};
#[cfg(not(target_arch = "wasm32"))]
pub use random::SystemRandom;
pub use random::{Random, RandomError};
pub use seal::{HsmKey, HsmKeyError, PassphraseCost, Seal, SealError, SealKind};
pub use sealed::{Anchor, Info, KeystoreId, OpenError, Opened, Refusal};
