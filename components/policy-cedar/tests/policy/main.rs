//! What the engine reads, decides and declares, linked natively.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

mod decisions;
mod documents;
mod examples;
mod queries;
mod reads;
