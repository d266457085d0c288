//! Keys in HSMs by PKCS#11: one HSM or a fleet with the same keys, in threads or in worker processes.
//!
//! [`Fleet`] is what a host uses. Everything that reaches an HSM is an operation that is handed to a worker; no caller ever
//! waits inside a module.

pub mod admin;
mod call;
mod catalog;
mod date;
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
pub mod rv;
mod settings;
mod shared_file;
mod token;
mod uses;
mod wire;
pub mod worker;

pub use call::wait;
pub use error::Error;
pub use fleet::Fleet;
pub use fleet::operations::{Decrypted, Encrypted, KeyDescription, Sealed};
pub use fleet::start::StartError;
pub use hsm::{Health, Status};
pub use quirks::{GcmParameters, IvSource, Quirks, TagPlace};
pub use request::Iv;
pub use settings::{
    FleetSettings, HsmSettings, Isolation, KeySettings, PinSource, TokenSelector, WorkerCommand,
};
