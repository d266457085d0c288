//! What the gate needs of others.

use holdfast_gate::query::{Decision, Query};
use holdfast_gate::sigv4::{AuthenticationFault, Claim};
use holdfast_keystore::Random;

/// The neighbours of the gate: a component for claims, one for decisions, and the host's clock and randomness.
pub trait Outside: Random {
    /// Reads a head's claim (`wit/authn`).
    fn claim(&mut self, head: &[u8]) -> Result<Claim, AuthenticationFault>;
    /// Decides (`wit/policy`).
    fn decide(&mut self, query: &Query) -> Result<Decision, Undecided>;
    /// The time.
    fn now(&mut self) -> Clock;
}

/// The policy gave no decision that is one of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// Time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// 0 for a clock before it, which no signed request agrees with.
    pub seconds: u64,
    /// Under 10^9.
    pub nanoseconds: u32,
}

impl Clock {
    pub(crate) fn milliseconds(self) -> u64 {
        self.seconds.saturating_mul(1000) + u64::from(self.nanoseconds / 1_000_000)
    }

    /// 0 where the clock was set back.
    pub(crate) fn microseconds_since(self, earlier: Clock) -> u64 {
        let microseconds =
            |clock: Clock| u128::from(clock.seconds) * 1_000_000 + u128::from(clock.nanoseconds / 1000);
        u64::try_from(microseconds(self).saturating_sub(microseconds(earlier))).unwrap_or(u64::MAX)
    }
}
