//! What is answered without the proxy.

use holdfast_gate::{ErrorName, Refusal};

/// The longest body that is taken, in bytes; the native host's default.
pub const BODY_LIMIT: usize = 64 * 1024;

/// An answer without the proxy.
pub(crate) fn refused(refusal: Refusal) -> (u16, String) {
    (refusal.name.status(), refusal.to_json())
}

/// What is answered before there are settings.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only the component can be asked so early")
)]
pub(crate) fn unconfigured() -> (u16, String) {
    refused(Refusal::new(ErrorName::DependencyTimeout, "this proxy has no settings yet"))
}
