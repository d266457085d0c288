//! A real host in a folder of its own, and clients to talk to it.
//!
//! The host is the binary that `cargo build` made (`$HOLDFAST_BIN`, else `holdfast` beside the test's own folder) with
//! the components that `cargo xtask build` made (`$HOLDFAST_COMPONENTS`, else `target/components`). A test that panics
//! prints the host's log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use it")]

mod body;
mod client;
mod curl;
mod folder;
mod handmade;
mod host;
mod places;
mod raw;
mod reply;
mod setup;
mod spin;
mod wait;

pub use body::{base64, decrypt_body, encrypt_body, metadata_body, request_id, request_metadata, unbase64};
pub use client::Client;
pub use curl::{curl_signs, run_curl};
pub use folder::{Folder, Ran, policy_examples};
pub use handmade::{HandMade, amz_date};
pub use holdfast_client::{Operation, Protocol};
pub use host::{Credential, Host};
pub use places::{cache, components, hostile, program};
pub use raw::Raw;
pub use reply::Reply;
pub use setup::{PERMIT_ALL, Setup};
pub use wait::{PATIENCE, wait_for};
