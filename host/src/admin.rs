//! The admin socket: how `holdfast policy` tells a running host what to do.
//!
//! A Unix socket of mode 0600, for the host's own user and root; [`protocol`] says what is spoken.

mod answer;
mod client;
mod frame;
mod listen;
pub mod protocol;

pub use client::{AdminClient, ClientError};
pub use listen::AdminSocket;
