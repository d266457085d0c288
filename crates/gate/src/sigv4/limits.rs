//! What the service is called, and how much is borne.

/// The service in the credential scope.
pub const SERVICE: &str = "kms-xks-proxy";
/// How far the request's time may be from ours, either way, in seconds.
pub const CLOCK_SKEW_LIMIT: u64 = 300;
/// The longest `signed-headers` that is looked at, in characters.
pub const SIGNED_HEADERS_LIMIT: usize = 2048;
