//! Why there is no report.

use super::plan::PlanError;
use super::process::ProcessError;
use crate::client::CallError;
use crate::connection::TransportError;
use crate::tls::TlsError;

/// Why a run gave no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan is refused.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The first requests, sent one by one before the run, failed.
    #[error("a request before the run failed, so there is no run")]
    WarmUp(#[source] CallError),
    /// The connections can't be opened.
    #[error("not all connections could be opened")]
    Transport(#[from] TransportError),
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server's process can't be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The system refuses something.
    #[error("the load generator can't run")]
    System(#[from] std::io::Error),
    /// The system has no random bytes.
    #[error("the system has no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// A thread of the generator ended early.
    #[error("a thread of the load generator failed: {0}")]
    Thread(String),
}

impl LoadError {
    /// Whether the server couldn't be reached at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::WarmUp(CallError::Transport(_)))
    }
}
