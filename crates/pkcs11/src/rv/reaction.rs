//! What is done about a code.

use cryptoki_sys::CK_RV;

/// What the caller of the operation is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The ciphertext or what belongs to it is altered.
    Altered,
    /// On a decryption: altered, if the HSM still decrypts what it made itself; else the HSM failed.
    Ambiguous,
    /// The key may not do this.
    Usage,
    /// The input is longer than the HSM takes.
    TooLong,
    /// The HSM can't serve now.
    Unavailable,
    /// The HSM or its module failed.
    Failed,
}

/// What is repaired beside the module before the operation is tried once more on the same HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    None,
    /// A new session.
    Session,
    /// A login, if the PIN may still be tried.
    Login,
    /// The key's handle is looked up again.
    Handle,
    /// Nothing at once: the token is looked for again in the background.
    Token,
}

/// What becomes of the HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It goes on.
    Keep,
    /// It gets no more requests after three such failures in a row.
    Count,
    /// It gets no more requests until a probe succeeds.
    Open,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Reaction {
    /// The code.
    pub code: CK_RV,
    /// Its name.
    pub name: &'static str,
    /// What the caller is told.
    pub meaning: Meaning,
    /// What is repaired.
    pub repair: Repair,
    /// Whether another HSM is tried, once.
    pub elsewhere: bool,
    /// What becomes of the HSM.
    pub breaker: Breaker,
}
