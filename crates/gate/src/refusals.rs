//! Refusals that several steps make.

use crate::sigv4::AuthenticationFault;
use crate::{ErrorName, Refusal};

const DIFFERS: &str = "the request was not processed as it was signed: ";

/// What a component said differs from what was signed.
pub fn differs(what: &str) -> Refusal {
    Refusal::with(ErrorName::Internal, format!("{DIFFERS}{what}"))
}

/// Whether a refusal was made by [`differs`].
pub(crate) fn is_difference(refusal: &Refusal) -> bool {
    refusal.message.starts_with(DIFFERS)
}

/// No API has this path, or not by this method.
pub fn no_such_api() -> Refusal {
    Refusal::new(ErrorName::InvalidUriPath, "no such API")
}

/// No key store's URI path is the beginning of this one.
pub fn no_such_key_store() -> Refusal {
    Refusal::new(ErrorName::InvalidUriPath, "no key store has this URI path; check the XksProxyUriPath")
}

/// A body of more than `limit` bytes.
pub fn body_too_long(limit: usize) -> Refusal {
    Refusal::with(
        ErrorName::UnsupportedOperation,
        format!("the body is longer than the {limit} bytes that this proxy takes"),
    )
}

/// A body that didn't come to its end.
pub fn body_broken() -> Refusal {
    Refusal::new(ErrorName::Validation, "the body ended early or could not be read")
}

/// A policy that gave no decision of its own.
pub fn undecided() -> Refusal {
    Refusal::new(ErrorName::Internal, "the policy could not decide; see the proxy's log")
}

impl From<AuthenticationFault> for Refusal {
    fn from(fault: AuthenticationFault) -> Refusal {
        Refusal::new(ErrorName::AuthenticationFailed, fault.message())
    }
}
