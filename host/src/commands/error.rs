//! How a command ends when it does not succeed.

use std::error::Error;

/// Why a command failed; shown with its sources.
pub type CommandError = Box<dyn Error + Send + Sync>;

/// Arguments that don't go together; the exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Something would change: for scripts, neither a success nor a failure. The exit code is 4.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Changed(pub String);
