//! What PKCS#11 functions return, and what each code means here: the one table of reactions.

use cryptoki_sys::*;
use std::fmt;

mod reaction;
mod table;

pub use reaction::{Breaker, Meaning, Reaction, Repair};
pub use table::TABLE;

/// A PKCS#11 function that didn't return `CKR_OK`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallError {
    /// Which function.
    pub function: &'static str,
    /// What it returned.
    pub code: CK_RV,
}

impl CallError {
    /// `Ok` for `CKR_OK`.
    pub fn check(function: &'static str, code: CK_RV) -> Result<(), CallError> {
        if code == CKR_OK { Ok(()) } else { Err(CallError { function, code }) }
    }

    /// What is done about it.
    pub fn reaction(&self) -> &'static Reaction {
        reaction(self.code)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TABLE.iter().find(|row| row.code == self.code) {
            Some(row) => write!(f, "{} returned {}", self.function, row.name),
            None => write!(f, "{} returned {:#010x}", self.function, self.code),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CallError {}

/// For codes that the table doesn't have, vendors' own among them.
const UNKNOWN: Reaction = Reaction {
    code: CKR_VENDOR_DEFINED,
    name: "any other",
    meaning: Meaning::Failed,
    repair: Repair::None,
    elsewhere: true,
    breaker: Breaker::Count,
};

/// The reaction to a code.
pub fn reaction(code: CK_RV) -> &'static Reaction {
    TABLE.iter().find(|row| row.code == code).unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_has_two_reactions() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|other| other.code != row.code), "{}", row.name);
        }
    }

    #[test]
    fn an_unknown_code_is_a_failure_that_another_hsm_may_not_have() {
        let error = CallError { function: "C_Encrypt", code: CKR_VENDOR_DEFINED | 0x17 };
        assert_eq!(error.reaction().meaning, Meaning::Failed);
        assert!(error.reaction().elsewhere);
        assert_eq!(error.to_string(), "C_Encrypt returned 0x80000017");
    }

    #[test]
    fn the_documentation_has_every_row() {
        let documented = include_str!("../../../docs/pkcs11.md");
        for row in TABLE {
            let Reaction { name, meaning, repair, elsewhere, breaker, .. } = row;
            let elsewhere = if *elsewhere { "yes" } else { "no" };
            let line = format!("| {name} | {meaning:?} | {repair:?} | {elsewhere} | {breaker:?} |");
            assert!(documented.contains(&line), "docs/pkcs11.md lacks: {line}");
        }
        let rows = documented.lines().filter(|line| line.starts_with("| CKR_")).count();
        assert_eq!(rows, TABLE.len(), "docs/pkcs11.md has rows that the table lacks");
    }
}
