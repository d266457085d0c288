//! What is known of a request so far: the facts of its audit record, and the result that a 200 must repeat.

use crate::policy::Active;
use holdfast_gate::Refusal;
use holdfast_gate::body::RequestMetadata;
use holdfast_gate::query::{Decision, DecryptCounts, Operation};
use holdfast_gate::reply::{Outcome, Words};
use holdfast_gate::sigv4::AuthenticationFault;
use holdfast_gate::target::Call;
use std::sync::Arc;
use std::time::Instant;

/// Filled by the gate as the request goes through it.
pub struct Trace {
    /// Whose credential signed, once verified.
    pub access_key_id: Option<String>,
    /// Why authentication refused.
    pub authentication_fault: Option<AuthenticationFault>,
    /// requestMetadata, once authenticated and read.
    pub metadata: Option<RequestMetadata>,
    /// From the signed path; `None` while nothing was authenticated.
    pub called: Option<Called>,
    /// Whether the component was shown the body.
    pub admitted: bool,
    /// What the principal decrypted before, as the policy could see it.
    pub decrypts: DecryptCounts,
    /// What the policy said.
    pub decided: Option<Decided>,
    /// Which key manager served.
    pub key_manager: Option<Arc<str>>,
    /// Why the gate refused; never secrets or content.
    pub refused: Option<Refusal>,
    /// Whether a component passed other inputs than the signed ones.
    pub inputs_differed: bool,
    /// The request's time by our clock, in seconds since 1970, as the policy saw it.
    pub time: u64,
    /// When the request's budget ends.
    pub deadline: Instant,
    /// Whether the gate is at work (waiting for the body, the policy, the key), so that a request out of time tells
    /// who was slow.
    pub in_gate: bool,
    /// What was done.
    pub outcome: Outcome,
}

/// What a signed path asks for: [`Call`], kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// GetHealthStatus.
    Health,
    /// An operation on a key.
    Key {
        /// The external key id.
        key_id: String,
        /// What to do with it.
        operation: Operation,
    },
}

impl From<Call<'_>> for Called {
    fn from(call: Call<'_>) -> Called {
        match call {
            Call::Health => Called::Health,
            Call::Key { key_id, operation } => Called::Key { key_id: key_id.to_owned(), operation },
        }
    }
}

/// A decision and who made it.
pub struct Decided {
    /// Which policy.
    pub active: Arc<Active>,
    /// What it said.
    pub decision: Arc<Decision>,
}

impl Trace {
    /// Nothing known yet of a request that came at `time` and must be answered before `deadline`.
    pub fn new(time: u64, deadline: Instant) -> Trace {
        Trace {
            access_key_id: None,
            authentication_fault: None,
            metadata: None,
            called: None,
            admitted: false,
            decrypts: DecryptCounts::default(),
            decided: None,
            key_manager: None,
            refused: None,
            inputs_differed: false,
            time,
            deadline,
            in_gate: false,
            outcome: Outcome::Nothing,
        }
    }

    /// Whose words an error is told in.
    pub fn words(&self) -> Words<'_> {
        if self.admitted { Words::Gates(self.refused.as_ref()) } else { Words::Components }
    }

    /// Keeps the reason of a refusal for the audit record. An answer that differs from what was signed is the
    /// component's failure, and is counted as one.
    pub fn note(&mut self, refusal: &Refusal) {
        self.inputs_differed |= super::admission::is_difference(refusal);
        self.refused = Some(refusal.clone());
    }
}
