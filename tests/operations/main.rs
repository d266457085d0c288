//! Operations: starting, running, changing, and stopping a host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod audit;
mod changes;
mod metrics;
mod panics;
mod process;
mod renewal;
mod rollback;
mod start;
mod stop;
mod traffic;
