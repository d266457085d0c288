//! Commands, each run in a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

mod check_config;
mod component;
mod init;
mod keys;
mod keystore;
