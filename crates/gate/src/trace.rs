//! What is known of a request so far: the facts of its audit record, and the result that a 200 must repeat.

use std::sync::Arc;

use crate::Refusal;
use crate::body::RequestMetadata;
use crate::query::{Decision, DecryptCounts};
use crate::refusals::is_difference;
use crate::reply::{Outcome, Words};
use crate::sigv4::AuthenticationFault;
use crate::target::Called;

/// Filled by the steps of a request as it goes through them.
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
    /// What the principal decrypted before, as a policy can see it; `None` while there is nothing to ask one about.
    pub decrypts: Option<DecryptCounts>,
    /// What the policy said.
    pub decision: Option<Arc<Decision>>,
    /// Which key manager served.
    pub key_manager: Option<Arc<str>>,
    /// Why the gate refused; never secrets or content.
    pub refused: Option<Refusal>,
    /// Whether it was refused for the key store's rate: such requests are counted, and not recorded one by one.
    pub throttled: bool,
    /// Whether a component passed other inputs than the signed ones.
    pub inputs_differed: bool,
    /// The request's time by our clock, in seconds since 1970, as the policy saw it.
    pub time: u64,
    /// What was done.
    pub outcome: Outcome,
}

impl Trace {
    /// Nothing known yet of a request that came at `time`.
    pub fn new(time: u64) -> Trace {
        Trace {
            access_key_id: None,
            authentication_fault: None,
            metadata: None,
            called: None,
            admitted: false,
            decrypts: None,
            decision: None,
            key_manager: None,
            refused: None,
            throttled: false,
            inputs_differed: false,
            time,
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
        self.inputs_differed |= is_difference(refusal);
        self.refused = Some(refusal.clone());
    }
}
