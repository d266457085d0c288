//! Why a change is not made.

use crate::name::{AccessKeyId, KeyId, KeyStoreName};
use crate::random::RandomError;

/// Why a change can't be made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// There is no such key store.
    #[error("there is no key store `{0}`")]
    NoKeyStore(KeyStoreName),
    /// The name is taken.
    #[error("there is a key store `{0}` already")]
    KeyStoreExists(KeyStoreName),
    /// There is no such key.
    #[error("key store `{0}` has no key `{1}`")]
    NoKey(KeyStoreName, KeyId),
    /// The id is taken.
    #[error("key store `{0}` has a key `{1}` already")]
    KeyExists(KeyStoreName, KeyId),
    /// There is no such credential.
    #[error("key store `{0}` has no credential `{1}`")]
    NoCredential(KeyStoreName, AccessKeyId),
    /// An access key id belongs to one secret of one key store.
    #[error("the access key id `{0}` is in use; every credential needs its own")]
    AccessKeyIdInUse(AccessKeyId),
    /// A secret belongs to one access key id.
    #[error("the secret access key of `{0}` is in use by another credential; every credential needs its own")]
    SecretInUse(AccessKeyId),
    /// Nobody could sign any more.
    #[error(
        "`{1}` is the last credential of key store `{0}`, and without one every request is refused; \
         create another first, or use --force"
    )]
    LastCredential(KeyStoreName, AccessKeyId),
    /// Only versions made here encrypt.
    #[error("all versions of key `{0}` are imported, and those only decrypt; rotate it first")]
    NothingToEncryptWith(KeyId),
    /// The material doesn't have the length of an AES-256 key.
    #[error("imported key material of {0} bytes; AES-256 has 32")]
    MaterialLength(usize),
    /// Too many of something.
    #[error("at most {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        max: usize,
    },
    /// No key or credential could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
}
