//! `[server]`: where and how requests are received.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::units;

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS, or plain HTTP on a loopback address.
    pub transport: Transport,
    /// What a client may use.
    pub limits: Limits,
}

/// How bytes travel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transport {
    /// HTTPS.
    Tls(TlsFiles),
    /// HTTP, only on a loopback address.
    PlainHttp,
}

/// `[server.tls]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// `[server.limits]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections at a time; past it idle strangers make room, and where there are none, new ones are closed.
    pub connections: usize,
    /// A request's head, in bytes.
    pub header_bytes: usize,
    /// A request's body, in bytes.
    pub body_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_time: Duration,
    /// For a TLS handshake.
    pub handshake_time: Duration,
    /// A connection without a request is closed after this.
    pub idle_time: Duration,
    /// How long a stop waits for requests that were accepted.
    pub drain_time: Duration,
    /// From a whole request head, its body included, to its answer; past it the answer is 503 (spec: KMS gives up after 250 ms).
    pub budget: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            header_time: Duration::from_secs(5),
            handshake_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(90),
            drain_time: Duration::from_secs(20),
            budget: Duration::from_millis(150),
        }
    }
}

/// KMS stops waiting after this (spec: "Timeouts").
const KMS_TIMEOUT: Duration = Duration::from_millis(250);

pub fn read(section: Section<'_>) -> Option<Server> {
    let listen = section.need("listen").and_then(|entry| entry.parsed(address));
    let transport = transport(&section, listen);
    let limits = section.section("limits").map_or(Limits::default(), limits);
    section.finish();
    Some(Server { listen: listen?, transport: transport?, limits })
}

/// An IP address with its port.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} isn't an address; an IP address and port is needed, such as \"127.0.0.1:8443\" or \"[::1]:8443\""))
}

fn transport(section: &Section<'_>, listen: Option<SocketAddr>) -> Option<Transport> {
    let plain = section.get("plain_http");
    let tls = section.get("tls");
    let wants_plain = match &plain {
        Some(entry) => entry.boolean()?,
        None => false,
    };
    match (wants_plain, tls) {
        (false, Some(tls)) => {
            let tls = tls.section()?;
            let certificate = tls.need("certificate").and_then(|entry| entry.path());
            let private_key = tls.need("private_key").and_then(|entry| entry.path());
            tls.finish();
            Some(Transport::Tls(TlsFiles { certificate: certificate?, private_key: private_key? }))
        }
        (false, None) => {
            section.problem_with(
                "tls",
                "is missing; give certificate and private_key, or plain_http = true on a loopback address",
            );
            None
        }
        (true, Some(tls)) => {
            tls.problem("stands beside plain_http = true; remove one of them");
            None
        }
        (true, None) if listen.is_some_and(|address| !address.ip().is_loopback()) => {
            if let Some(entry) = plain {
                entry.problem("plain HTTP is allowed only on a loopback address (127.0.0.0/8 or ::1); configure [server.tls]");
            }
            None
        }
        (true, None) => Some(Transport::PlainHttp),
    }
}

fn limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let time = |name: &'static str, least: u64, most: u64, default: Duration| {
        let allowed = Duration::from_millis(least)..=Duration::from_millis(most);
        section
            .get(name)
            .and_then(|entry| entry.parsed(|text| units::duration(text, allowed)))
            .unwrap_or(default)
    };
    let size = |name: &'static str, least: usize, most: usize, default: usize| {
        section
            .get(name)
            .and_then(|entry| entry.parsed(|text| units::size(text, least..=most)))
            .unwrap_or(default)
    };
    let connections = section.get("connections").and_then(|entry| entry.integer(1..=1_000_000));
    let limits = Limits {
        connections: connections.and_then(|count| usize::try_from(count).ok()).unwrap_or(default.connections),
        header_bytes: size("header_bytes", 8 * 1024, 256 * 1024, default.header_bytes),
        // 24 KiB hold the 4,300 bytes of plaintext and 8,192 of AAD that the specification asks for, in base64. 256 KiB
        // pass through the proxy component with what it may copy and use (`Proxy::SIZE`).
        body_bytes: size("body_bytes", 24 * 1024, 256 * 1024, default.body_bytes),
        header_time: time("header_time", 100, 60_000, default.header_time),
        handshake_time: time("handshake_time", 100, 60_000, default.handshake_time),
        idle_time: time("idle_time", 1000, 3_600_000, default.idle_time),
        drain_time: time("drain_time", 0, 600_000, default.drain_time),
        budget: time("budget", 10, 10_000, default.budget),
    };
    if limits.budget > KMS_TIMEOUT {
        section.warn("budget is above 250ms, after which AWS KMS no longer waits for the answer");
    }
    section.finish();
    limits
}
