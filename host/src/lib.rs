//! The native host: an AWS KMS external key store (XKS) proxy whose request logic is sandboxed.
//!
//! The way of a request: [`server`] -> [`proxy`] (component) -> [`gate`] -> `holdfast_policy` -> [`backend`] -> [`audit`].

pub mod admin;
pub mod audit;
pub mod backend;
pub mod cli;
pub mod commands;
pub mod config;
pub mod counters;
pub mod gate;
pub mod log;
pub mod metrics;
pub mod panics;
pub mod proxy;
pub mod rate;
pub mod runtime;
pub mod server;
