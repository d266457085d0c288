//! The native host: an AWS KMS external key store (XKS) proxy whose request logic is sandboxed.

pub mod config;
