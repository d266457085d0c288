//! Why a policy's component gave no decision.

use crate::policy::PolicyFailure;
use holdfast_sandbox::SandboxFailure;
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// What the store's limits end a guest with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitReached {
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
