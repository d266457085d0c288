//! Operations: starting, running, changing, and stopping a host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod audit;
mod changes;
mod frozen;
mod metrics;
mod panics;
mod process;
mod renewal;
mod rollback;
mod signals;
mod start;
mod stop;
mod traffic;
