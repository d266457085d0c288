//! The key stores' policies.

use super::{Checks, files};

pub fn check(checks: &mut Checks<'_>) {
    for (index, store) in checks.config.key_stores.iter().enumerate() {
        let Some(policy) = &store.policy else { continue };
        let field = format!("key_store[{index}].policy");
        let taken = files::component(
            checks,
            &format!("{field}.component"),
            "key_store.policy.component",
            &policy.component,
        );
        let mut readable = true;
        for (number, file) in policy.files.iter().enumerate() {
            if let Err(error) = std::fs::read_to_string(file) {
                checks.problem(
                    &format!("{field}.files[{number}]"),
                    format!("can't read {}: {error}", file.display()),
                );
                readable = false;
            }
        }
        if taken && readable {
            checks.right(format!("policy files of key store {}", store.name));
        }
    }
}
