//! The life of policies in a running host, through its admin socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod activation;
mod artefact;
mod hostile;
mod kill;
mod refusing;
mod rollback;
mod room;
mod shadow;
mod signer;
mod socket;
mod stage;
mod trust;
