//! The keys of an HSM, shown.

use holdfast_pkcs11::admin;
use holdfast_pkcs11::module::KeyAttributes;
use serde::Serialize;

use super::super::{CommandError, Output};

#[derive(Serialize)]
pub(super) struct KeyReport {
    label: String,
    encrypt: bool,
    decrypt: bool,
    sensitive: bool,
    extractable: bool,
    /// YYYYMMDD.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<u32>,
    /// YYYYMMDD.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<u32>,
    warnings: Vec<&'static str>,
}

pub(super) fn table(keys: &[KeyReport], output: &mut Output) -> Result<(), CommandError> {
    let row = |key: &KeyReport| {
        let uses = [(key.encrypt, "ENCRYPT"), (key.decrypt, "DECRYPT")];
        let uses: Vec<_> = uses.iter().filter_map(|(has, name)| has.then_some(*name)).collect();
        let warnings = match key.warnings.is_empty() {
            true => "-".to_owned(),
            false => format!("WARNING: {}", key.warnings.join("; ")),
        };
        [key.label.clone(), uses.join(","), warnings]
    };
    Ok(output.table(["KEY", "USAGE", "WARNINGS"], keys.iter().map(row))?)
}

impl KeyReport {
    pub(super) fn of(key: &KeyAttributes) -> KeyReport {
        let date = |date| (date != 0).then_some(date);
        KeyReport {
            label: key.label.clone(),
            encrypt: key.encrypt,
            decrypt: key.decrypt,
            sensitive: key.sensitive,
            extractable: key.extractable,
            start_date: date(key.start_date),
            end_date: date(key.end_date),
            warnings: admin::warnings(key),
        }
    }
}
