//! How a component can fail, and how often it did.

use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Trap;

/// What became of a component that gave no answer. Every kind refuses the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SandboxFailure {
    /// It trapped: a panic, an abort, a misuse of a resource.
    #[error("it trapped")]
    Trap,
    /// It took longer than the request has.
    #[error("it did not answer in time")]
    Time,
    /// It recursed too deep.
    #[error("it used more stack than it has")]
    Stack,
    /// It asked for more memory than it has.
    #[error("it asked for more memory than it has")]
    Memory,
    /// It handed the host more data than it takes.
    #[error("it handed over more data than is taken")]
    Output,
    /// All instances are busy.
    #[error("all instances are busy")]
    Busy,
    /// Its answer is none that may leave.
    #[error("its answer is none that the gate lets out")]
    Answer,
    /// It passed inputs that differ from the signed ones.
    #[error("it passed other inputs than the signed ones")]
    Inputs,
    /// It can't be loaded, so nothing is decided.
    #[error("it can't be used")]
    Unusable,
}

impl SandboxFailure {
    /// Every kind, for counters.
    pub const ALL: [SandboxFailure; 9] = [
        SandboxFailure::Trap,
        SandboxFailure::Time,
        SandboxFailure::Stack,
        SandboxFailure::Memory,
        SandboxFailure::Output,
        SandboxFailure::Busy,
        SandboxFailure::Answer,
        SandboxFailure::Inputs,
        SandboxFailure::Unusable,
    ];

    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            SandboxFailure::Trap => "trap",
            SandboxFailure::Time => "time",
            SandboxFailure::Stack => "stack",
            SandboxFailure::Memory => "memory",
            SandboxFailure::Output => "output",
            SandboxFailure::Busy => "busy",
            SandboxFailure::Answer => "answer",
            SandboxFailure::Inputs => "inputs",
            SandboxFailure::Unusable => "unusable",
        }
    }

    /// The kind that an error of a call is. `memory_reached`: growth was refused during the call.
    pub fn of(error: &wasmtime::Error, memory_reached: bool) -> SandboxFailure {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return SandboxFailure::Busy;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => SandboxFailure::Stack,
            Some(Trap::Interrupt) => SandboxFailure::Time,
            _ if memory_reached => SandboxFailure::Memory,
            Some(_) => SandboxFailure::Trap,
            // Fuel for copying is the one bound that has no type of its own.
            None if error.to_string().contains("fuel") => SandboxFailure::Output,
            None => SandboxFailure::Trap,
        }
    }
}

/// Failures of one component, by kind.
#[derive(Default)]
pub struct FailureCounts([AtomicU64; SandboxFailure::ALL.len()]);

impl FailureCounts {
    /// Counts one.
    pub fn count(&self, failure: SandboxFailure) {
        if let Some(counter) = self.0.get(failure as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each kind occurred.
    pub fn iter(&self) -> impl Iterator<Item = (SandboxFailure, u64)> + '_ {
        SandboxFailure::ALL.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}
