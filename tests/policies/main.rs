//! `holdfast policy`: what an author does with a policy before a running host takes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

mod backtest;
mod files;
mod languages;
