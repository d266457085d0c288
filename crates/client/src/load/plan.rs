//! What to send.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::credential::Credential;
use crate::endpoint::Endpoint;
use crate::message::Operation;
use crate::tls::Trust;

/// A load to put on one key store.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub endpoint: Endpoint,
    /// Whose certificate, for https.
    pub trust: Trust,
    /// As whom.
    pub credential: Credential,
    /// The AWS region to sign for.
    pub region: String,
    /// The external key id.
    pub key: String,
    /// Kept-alive HTTP/1.1 connections; at most 10,000.
    pub connections: usize,
    /// Threads of the generator; at most one a connection.
    pub threads: usize,
    /// As fast as the answers come, or at a fixed rate.
    pub pace: Pace,
    /// No request is begun after it; at most an hour.
    pub duration: Duration,
    /// At most so many requests.
    pub count: Option<u64>,
    /// Shares of the operations.
    pub mix: Mix,
    /// Plaintext bytes; 1 to 65,536.
    pub payload_bytes: usize,
    /// AAD bytes; 0 sends none.
    pub aad_bytes: usize,
    /// Ask for the CDIV.
    pub cdiv: bool,
    /// `awsPrincipalArn`; `{}` stands for 0 to `principals` - 1, in turn.
    pub principal: String,
    /// How many principals.
    pub principals: usize,
    /// `kmsViaService`.
    pub via_service: Option<String>,
    /// Share of requests with a made-up signature, 0 to 1.
    pub forged: f64,
    /// Share of requests without `authorization`, 0 to 1.
    pub unsigned: f64,
    /// The server's process id, to tell its CPU time and memory.
    pub pid: Option<u32>,
    /// Allow hosts other than this one.
    pub any_host: bool,
}

/// How requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Each connection sends when its last answer has come.
    Closed,
    /// So many requests a second in all, whatever the answers; latency counts from when a request was due.
    Rate(f64),
}

/// Shares of the operations, such as encrypt 1, decrypt 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mix {
    /// GetHealthStatus.
    pub health: u32,
    /// GetKeyMetadata.
    pub metadata: u32,
    /// Encrypt.
    pub encrypt: u32,
    /// Decrypt of what was encrypted before.
    pub decrypt: u32,
}

/// A plan that can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A value out of its range.
    #[error("{what} must be {allowed}")]
    Range {
        /// Which one.
        what: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// Not a mix.
    #[error(
        "{text:?} is no operation mix; write shares such as encrypt=1,decrypt=1 of health, metadata, encrypt, decrypt"
    )]
    Mix {
        /// As given.
        text: String,
    },
    /// Load on another machine.
    #[error(
        "{host} is not this machine; load is for servers of one's own, which --i-own-this-server confirms"
    )]
    NotLoopback {
        /// Which host.
        host: String,
    },
}

impl Mix {
    /// Encryption only.
    pub const ENCRYPT: Self = Self { health: 0, metadata: 0, encrypt: 1, decrypt: 0 };

    pub(super) fn total(self) -> u64 {
        [self.health, self.metadata, self.encrypt, self.decrypt].into_iter().map(u64::from).sum()
    }

    /// The operation at `point`, which is below [`Mix::total`].
    pub(super) fn at(self, point: u64) -> Operation {
        let mut below = 0;
        for (operation, share) in [
            (Operation::Health, self.health),
            (Operation::Metadata, self.metadata),
            (Operation::Encrypt, self.encrypt),
        ] {
            below += u64::from(share);
            if point < below {
                return operation;
            }
        }
        Operation::Decrypt
    }
}

impl FromStr for Mix {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let bad = || PlanError::Mix { text: text.to_owned() };
        let mut mix = Self { health: 0, metadata: 0, encrypt: 0, decrypt: 0 };
        for part in text.split(',') {
            let (name, share) = part.trim().split_once('=').unwrap_or((part.trim(), "1"));
            let share: u32 = share.parse().map_err(|_| bad())?;
            match name {
                "health" => mix.health = share,
                "metadata" => mix.metadata = share,
                "encrypt" => mix.encrypt = share,
                "decrypt" => mix.decrypt = share,
                _ => return Err(bad()),
            }
        }
        if mix.total() == 0 { Err(bad()) } else { Ok(mix) }
    }
}

impl Plan {
    /// Refuses what would run for ever, or against somebody else.
    pub fn check(&self) -> Result<(), PlanError> {
        let within =
            |what, allowed, fits: bool| if fits { Ok(()) } else { Err(PlanError::Range { what, allowed }) };
        within("the number of connections", "1 to 10000", (1..=10_000).contains(&self.connections))?;
        let threads = (1..=self.connections.min(64)).contains(&self.threads);
        within("the number of threads", "1 to 64, and no more than connections", threads)?;
        let hour = Duration::from_secs(3_600);
        within(
            "the duration",
            "above 0 and at most an hour",
            !self.duration.is_zero() && self.duration <= hour,
        )?;
        within("the count", "at least 1", self.count != Some(0))?;
        if let Pace::Rate(rate) = self.pace {
            within("the rate", "0.1 to 1000000 a second", (0.1..=1e6).contains(&rate))?;
        }
        within("the mix", "at least one share above 0", self.mix.total() > 0)?;
        within("the payload", "1 to 65536 bytes", (1..=65_536).contains(&self.payload_bytes))?;
        within("the AAD", "0 to 65536 bytes", self.aad_bytes <= 65_536)?;
        within("the number of principals", "1 to 1000000", (1..=1_000_000).contains(&self.principals))?;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let shares = share(self.forged) && share(self.unsigned) && share(self.forged + self.unsigned);
        within("the shares of forged and unsigned requests", "0 to 1, and so their sum", shares)?;
        if !self.any_host && !self.endpoint.is_loopback() {
            return Err(PlanError::NotLoopback { host: self.endpoint.host().to_owned() });
        }
        Ok(())
    }

    /// Whether any request is rightly signed.
    pub(super) fn has_signed(&self) -> bool {
        self.forged + self.unsigned < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_dealt_by_its_shares() {
        let mix: Mix = "encrypt=2, decrypt=1,health=1".parse().unwrap();
        let dealt: Vec<Operation> = (0..mix.total()).map(|point| mix.at(point)).collect();
        use Operation::{Decrypt, Encrypt, Health};
        assert_eq!(dealt, [Health, Encrypt, Encrypt, Decrypt]);
        assert_eq!("encrypt".parse(), Ok(Mix::ENCRYPT));
        for text in ["", "encrypt=x", "sign=1", "encrypt=0"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
