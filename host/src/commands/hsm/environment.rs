//! The variables that a module reads, in this process.

use std::ffi::OsString;

/// Sets variables, and gives what they were.
pub(super) fn set_environment(environment: &[(String, String)]) -> Vec<(&str, Option<OsString>)> {
    let before = environment.iter().map(|(name, _)| (name.as_str(), std::env::var_os(name))).collect();
    for (name, value) in environment {
        // SAFETY: the command has one thread, which isn't inside a module, and modules read variables while they initialise.
        unsafe { std::env::set_var(name, value) };
    }
    before
}

pub(super) fn restore_environment(before: Vec<(&str, Option<OsString>)>) {
    for (name, value) in before {
        match value {
            // SAFETY: as above.
            Some(value) => unsafe { std::env::set_var(name, value) },
            // SAFETY: as above.
            None => unsafe { std::env::remove_var(name) },
        }
    }
}
