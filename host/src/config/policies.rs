//! `[policies]`: whose policies are taken by a running host.

use crate::policy::TrustedKeys;

use super::reader::Section;

/// `[policies]`.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Public keys of minisign whose signatures of policy artefacts count.
    pub trusted_keys: TrustedKeys,
    /// Whether artefacts without a signature are taken too.
    pub allow_unsigned: bool,
}

pub fn read(section: Section<'_>) -> Option<Policies> {
    let trusted_keys = match section.get("trusted_keys") {
        None => TrustedKeys::default(),
        Some(entry) => {
            let texts = entry.list()?.iter().map(|item| item.text()).collect::<Option<Vec<_>>>()?;
            match TrustedKeys::parse(texts) {
                Ok(keys) => keys,
                Err(error) => {
                    entry.problem(error.to_string());
                    return None;
                }
            }
        }
    };
    let allow_unsigned = match section.get("allow_unsigned") {
        None => false,
        Some(entry) => entry.boolean()?,
    };
    if allow_unsigned {
        section.warn("takes policies that nobody signed; for tests only");
    }
    section.finish();
    Some(Policies { trusted_keys, allow_unsigned })
}
