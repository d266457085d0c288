//! Keys in HSMs by PKCS#11: one HSM, or up to ten with the same keys.
//!
//! What it is for: a host hands over a plaintext or a ciphertext with the id of a key, and gets back what an HSM made of it,
//! within a deadline, whatever the vendor's module does meanwhile. It knows which HSMs can serve, and says so of each; it comes
//! back by itself from whatever passes (a token that was out, a session that was cut, a module that crashed), and tells what
//! doesn't pass in words that an operator can act on.
//!
//! The way of an operation: a [`Fleet`] finds the version of the key in its catalog, counts one use where it encrypts, chooses the
//! HSM with the least to do and puts the call into that HSM's lane. A worker takes it from there: a thread of this process, or
//! a worker process of its own in which the module is loaded, so that a crash there is no crash here. It finds the key on the token, calls the
//! module, repairs what can be repaired beside it and tries once more. What comes back is judged (its form, its IV)
//! before anybody sees it. Where one HSM fails, another is asked, once. Beside that a supervisor of each HSM connects, logs in, lists
//! its keys and works with its test key, again and again; health is what it found last.
//!
//! What it must never do:
//! - let a caller wait inside a module, or beyond its deadline: no thread of a caller's ever enters vendor code;
//! - use another key than the one that the ciphertext, or the listing, names;
//! - give out a ciphertext whose IV is zeros, or was there before, or isn't the one that was given;
//! - encrypt without having counted the use on disk before, or more often than is safe;
//! - try a PIN twice that the token refused or may have refused: not after a restart, nor by a command;
//! - let a secret into a log, an error or `Debug`, or into a worker process that doesn't need it.
//!
//! What it exports: [`Fleet`] with its settings, what it answers and how it fails ([`BackendError`], the gate's own); [`Health`] of each HSM;
//! [`admin`], for an operator at a terminal, who waits; [`worker`], the whole life of a worker process; [`module`], a loaded module, for both
//! and for measuring.

pub mod admin;
mod call;
mod catalog;
mod date;
mod descriptions;
mod error;
mod executor;
mod fault;
mod fleet;
mod hsm;
mod ivs;
mod lane;
mod ledger;
mod messages;
pub mod module;
mod packet;
mod quirks;
mod request;
mod rv;
mod settings;
mod shared_file;
mod token;
mod uses;
mod wire;
pub mod worker;

pub use call::wait;
pub use fleet::Fleet;
pub use fleet::operations::{Decrypted, Encrypted, KeyDescription, Sealed};
pub use fleet::start::StartError;
pub use holdfast_gate::backend::BackendError;
pub use hsm::{Health, Status};
pub use quirks::{GcmParameters, IvSource, Quirks, TagPlace};
pub use request::Iv;
pub use settings::{
    FleetSettings, HsmSettings, Isolation, KeySettings, PinSource, TokenSelector, WorkerCommand,
};
pub use shared_file::make_folder;
