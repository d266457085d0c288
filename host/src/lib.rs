//! The native host: an AWS KMS external key store (XKS) proxy whose request logic is sandboxed.
//!
//! The way of a request: [`server`] -> [`proxy`] (component) -> [`gate`] -> `holdfast_policy` -> [`backend`] -> [`audit`].
//!
//! - `server`: TLS, HTTP and the grammar of the target; `gate`: the rules of `holdfast-gate` at work; `proxy` and `backend`: components and keys.
//! - `runtime` holds what all requests share and keeps it fresh; `config` is the file it is made of, typed and checked.
//! - `audit`, `counters`, `metrics` and `log` tell; `admin` is the socket that a running host takes orders on; `commands` are the rest of the program.
//!
//! What it must never do: let a request reach a key without the gate's grant; answer 200 before its record is written; wait for a file, an
//! HSM or a policy on a thread that serves; say that it is well when an Encrypt right after it would fail; let a secret or a plaintext into a
//! log, a metric, an error or a component that needn't see it.
//!
//! It exports the command line for the program ([`cli`], [`commands`]), and to tests what they look into.

mod admin;
mod audit;
pub mod backend;
pub mod cli;
pub mod commands;
pub mod config;
mod counters;
pub mod gate;
mod log;
mod metrics;
mod panics;
pub mod proxy;
mod rate;
pub mod runtime;
pub mod server;
