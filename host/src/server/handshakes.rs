//! TLS handshakes that fail: counted by kind, and told once in a while with the number behind them. Anybody can cause them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why a handshake failed, as metrics say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// The client refused: usually it doesn't trust the certificate, or the name isn't in it.
    Alert,
    /// What came is no TLS: plain HTTP, or a balancer's PROXY protocol.
    NotTls,
    /// Client and server have no version, suite or group in common, and the rest.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Timeout, Kind::Closed, Kind::Alert, Kind::NotTls, Kind::Other];

    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Timeout => "timeout",
            Kind::Closed => "closed",
            Kind::Alert => "alert",
            Kind::NotTls => "not-tls",
            Kind::Other => "other",
        }
    }

    /// Of an error of rustls, as tokio-rustls hands it on.
    pub fn of(error: &io::Error) -> Kind {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(_)) => Kind::Alert,
            Some(rustls::Error::InvalidMessage(_)) => Kind::NotTls,
            Some(_) => Kind::Other,
            None => Kind::Closed,
        }
    }
}

/// Since the start, and since they were told last.
#[derive(Default)]
pub struct Handshakes {
    failed: [AtomicU64; Kind::ALL.len()],
    untold: Mutex<Option<Untold>>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// How many failed.
    pub count: u64,
    /// Why the last one did.
    pub last: String,
    /// Who that was.
    pub peer: SocketAddr,
}

impl Handshakes {
    /// One failed.
    pub fn failed(&self, kind: Kind, peer: SocketAddr, why: impl ToString) {
        self.failed[kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let count = untold.as_ref().map_or(0, |untold| untold.count) + 1;
        *untold = Some(Untold { count, last: why.to_string(), peer });
    }

    /// How many failed so since the start.
    pub fn count(&self, kind: Kind) -> u64 {
        self.failed[kind as usize].load(Ordering::Relaxed)
    }

    /// What wasn't told yet.
    pub fn untold(&self) -> Option<Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_and_told_with_their_number() {
        let handshakes = Handshakes::default();
        let peer = ([127, 0, 0, 1], 9).into();
        let no_tls = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
        );
        for _ in 0..3 {
            handshakes.failed(Kind::of(&no_tls), peer, &no_tls);
        }
        handshakes.failed(Kind::Timeout, peer, "it took too long");
        assert_eq!(Kind::ALL.map(|kind| handshakes.count(kind)), [1, 0, 0, 3, 0]);
        let untold = Untold { count: 4, last: "it took too long".into(), peer };
        assert_eq!((handshakes.untold(), handshakes.untold()), (Some(untold), None));
        assert_eq!(Kind::of(&io::ErrorKind::UnexpectedEof.into()), Kind::Closed);
    }
}
