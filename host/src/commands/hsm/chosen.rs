//! Which HSM a command is about.

use crate::config::{Config, Hsm};

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum HsmCommandError {
    #[error("{0} has no [[hsm]]; docs/pkcs11.md shows one")]
    None(String),
    #[error("{config} has no HSM {name}; it has {known}")]
    Unknown { config: String, name: String, known: String },
    #[error("{config} has several HSMs; name one: {known}")]
    Several { config: String, known: String },
    #[error(
        "HSM {other} of the same key store has a key {label} already, and one made on {hsm} would be another under its name: copy it \
         by the HSMs' own means"
    )]
    Taken { hsm: String, other: String, label: String },
    #[error(
        "HSM {other} of the same key store can't be asked whether it has a key {label}, so none is made: {why}"
    )]
    Unasked { other: String, label: String, why: String },
    #[error(
        "key store {key_store} has {count} HSMs, which must hold the same keys: make the next version on one of them by \
         its own tools, named {key}#N, and copy it to the others; it is used as soon as all have it"
    )]
    Fleet { key_store: String, count: usize, key: String },
}

/// The named one, or the only one.
pub(in super::super) fn choose<'a>(
    config: &'a Config,
    name: Option<&str>,
) -> Result<&'a Hsm, HsmCommandError> {
    let known = || config.hsms.iter().map(|hsm| hsm.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = || config.file.display().to_string();
    match (name, config.hsms.as_slice()) {
        (_, []) => Err(HsmCommandError::None(file())),
        (Some(name), hsms) => hsms.iter().find(|hsm| hsm.name == name).ok_or_else(|| {
            HsmCommandError::Unknown { config: file(), name: name.to_owned(), known: known() }
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(HsmCommandError::Several { config: file(), known: known() }),
    }
}
