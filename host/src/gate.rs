//! The gate: request -> admission -> grant, each made only by consuming the one before.
//!
//! [`Request::admit`] is the only maker of an [`Admission`], [`Admission::authorize`] the only maker of a [`Grant`], and
//! a grant is consumed by its one operation. Components get at these through `wit/gate` ([`imports`]). What is checked
//! stands in the crate `holdfast-gate`, for every home of the gate; here is what comes between: components, keys, waiting.

mod admission;
mod authenticator;
mod grant;
pub mod imports;
mod key_store;
mod received;
mod request;
mod standing;
mod trace;

pub use admission::Admission;
pub use authenticator::Authenticator;
pub use grant::Grant;
pub use key_store::{Credentials, KeyStore, KeyStores};
pub use received::ReceivedBody;
pub use request::{Expecting, Head, Request};
pub use standing::Standing;
pub use trace::Trace;

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for a clock before it, which no signed request agrees with.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
