//! Whatever comes in: the right errorName, nothing lost, nothing of it in a log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod bodies;
mod framing;
mod generated;
mod heads;
mod targets;
mod watched;
