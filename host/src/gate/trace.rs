//! What is known of a request so far, with what only this host has: its deadline, and which policy was in force.

use holdfast_policy::life::Active;
use std::sync::Arc;
use std::time::Instant;

/// Filled by the gate as the request goes through it.
pub struct Trace {
    /// What every home of the gate knows.
    pub known: holdfast_gate::Trace,
    /// Who was asked, whether or not there was an answer.
    pub asked: Option<Arc<Active>>,
    /// When the request's budget ends.
    pub deadline: Instant,
    /// Whether the gate is at work (waiting for the body, the policy, the key), so that a request out of time tells
    /// who was slow.
    pub in_gate: bool,
}

impl Trace {
    /// Nothing known yet of a request that came at `time` (seconds since 1970) and must be answered before `deadline`.
    pub fn new(time: u64, deadline: Instant) -> Trace {
        Trace { known: holdfast_gate::Trace::new(time), asked: None, deadline, in_gate: false }
    }
}
