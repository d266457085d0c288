//! Why a policy's component gave no decision.

use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::{PoolConcurrencyLimitError, Trap};

/// What went wrong in the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The component trapped: a panic, or an access out of bounds.
    Trap,
    /// It ran for longer than allowed.
    Time,
    /// It wanted more memory than allowed.
    Memory,
    /// It recursed too deeply.
    Stack,
    /// It answered too much, or something that isn't an answer.
    Output,
    /// No room for another instance.
    Busy,
}

impl FailureKind {
    pub(super) const ALL: [FailureKind; 6] = [
        FailureKind::Trap,
        FailureKind::Time,
        FailureKind::Memory,
        FailureKind::Stack,
        FailureKind::Output,
        FailureKind::Busy,
    ];

    /// A word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Trap => "trap",
            FailureKind::Time => "time",
            FailureKind::Memory => "memory",
            FailureKind::Stack => "stack",
            FailureKind::Output => "output",
            FailureKind::Busy => "busy",
        }
    }
}

/// A policy's component gave no decision. The request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy component failed ({}): {detail}", kind.name())]
pub struct PolicyFailure {
    /// What went wrong.
    pub kind: FailureKind,
    /// More about it, for the log; never for the client.
    pub detail: String,
}

impl PolicyFailure {
    pub(super) fn output(detail: impl Into<String>) -> PolicyFailure {
        PolicyFailure { kind: FailureKind::Output, detail: detail.into() }
    }
}

/// What the store's limits end a guest with.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitReached {
    #[error("it ran for more than {0} ms")]
    Time(u128),
    #[error("it asked for {wanted} bytes of memory, and {limit} are allowed")]
    Memory { wanted: usize, limit: usize },
}

impl From<wasmtime::Error> for PolicyFailure {
    fn from(error: wasmtime::Error) -> PolicyFailure {
        let kind = match (error.downcast_ref::<LimitReached>(), error.downcast_ref::<Trap>()) {
            (Some(LimitReached::Time(_)), _) | (_, Some(Trap::Interrupt)) => FailureKind::Time,
            (Some(LimitReached::Memory { .. }), _) => FailureKind::Memory,
            (_, Some(Trap::StackOverflow)) => FailureKind::Stack,
            (_, Some(_)) => FailureKind::Trap,
            _ if error.is::<PoolConcurrencyLimitError>() => FailureKind::Busy,
            // What is left is what the host refuses to read out of the guest.
            _ => FailureKind::Output,
        };
        let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        // The first is a backtrace where there is more to say.
        let detail = causes.pop().unwrap_or_default();
        PolicyFailure { kind, detail }
    }
}

/// How often each kind happened.
#[derive(Default)]
pub(super) struct FailureCounts([AtomicU64; FailureKind::ALL.len()]);

impl FailureCounts {
    pub(super) fn count(&self, kind: FailureKind) {
        if let Some(counter) = self.0.get(kind as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Vec<(FailureKind, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        FailureKind::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}
