//! Why a staged artefact may not decide.

/// Why a staged artefact isn't trusted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Its key isn't trusted any more.
    #[error("it is signed by key {0}, which isn't in [policies] trusted_keys")]
    Signer(String),
    /// It has no signature.
    #[error("nobody signed it, and allow_unsigned isn't set in [policies]")]
    Unsigned,
}
