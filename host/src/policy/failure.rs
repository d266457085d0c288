//! Why a policy's component gave no decision.

use crate::sandbox::SandboxFailure;
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// A policy's component gave no decision. The request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy component failed ({}): {detail}", kind.label())]
pub struct PolicyFailure {
    /// What went wrong.
    pub kind: SandboxFailure,
    /// More about it, for the log; never for the client.
    pub detail: String,
}

impl PolicyFailure {
    pub(super) fn output(detail: impl Into<String>) -> PolicyFailure {
        PolicyFailure { kind: SandboxFailure::Output, detail: detail.into() }
    }
}

/// What the store's limits end a guest with.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitReached {
    #[error("it wasn't done within {0} ms")]
    Time(u128),
    #[error("it asked for {wanted} bytes of memory, and {limit} are allowed")]
    Memory { wanted: usize, limit: usize },
}

impl From<wasmtime::Error> for PolicyFailure {
    fn from(error: wasmtime::Error) -> PolicyFailure {
        let kind = match (error.downcast_ref::<LimitReached>(), error.downcast_ref::<Trap>()) {
            (Some(LimitReached::Time(_)), _) | (_, Some(Trap::Interrupt)) => SandboxFailure::Time,
            (Some(LimitReached::Memory { .. }), _) => SandboxFailure::Memory,
            (_, Some(Trap::StackOverflow)) => SandboxFailure::Stack,
            (_, Some(_)) => SandboxFailure::Trap,
            _ if error.is::<PoolConcurrencyLimitError>() => SandboxFailure::Busy,
            // What is left is what the host refuses to read out of the guest.
            _ => SandboxFailure::Output,
        };
        let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        // The first is a backtrace where there is more to say.
        let detail = causes.pop().unwrap_or_default();
        PolicyFailure { kind, detail }
    }
}
