//! Keys in HSMs by PKCS#11.

pub mod module;
pub mod quirks;
pub mod request;
pub mod rv;
