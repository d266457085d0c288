//! One kept-alive connection to a key store, over TCP or TLS, HTTP/1.1 or HTTP/2.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::tls::{TlsError, Trust, server_name};

/// After which a request, or the making of a connection, is given up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// More than any XKS answer has.
const ANSWER_LIMIT: usize = 1 << 20;

/// What to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge over plain TCP.
    Http2,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version that was spoken.
    pub version: Version,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body; at most 1 MiB.
    pub body: Bytes,
    /// From sending the request until the body had come.
    pub elapsed: Duration,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nobody answers at the address.
    #[error("can't connect to {address}; is the server running, and is the port right?")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// Host and port.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server over TLS doesn't do HTTP/2.
    #[error("{address} doesn't offer HTTP/2")]
    NoHttp2 {
        /// Host and port.
        address: String,
    },
    /// No answer in time.
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// HTTP broke down.
    #[error("the HTTP exchange failed")]
    Http(#[from] hyper::Error),
    /// The body didn't come whole, or is far too long.
    #[error("the answer's body can't be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection that is kept alive between requests. Needs a tokio runtime with I/O and time.
pub struct Connection {
    sender: Sender,
    scheme: &'static str,
    authority: String,
}

impl Connection {
    /// Connects, within [`REQUEST_TIMEOUT`]. `trust` matters for https only.
    pub async fn open(
        endpoint: &Endpoint,
        trust: &Trust,
        protocol: Protocol,
    ) -> Result<Self, TransportError> {
        let opening = Self::open_unbounded(endpoint, trust, protocol);
        tokio::time::timeout(REQUEST_TIMEOUT, opening).await.map_err(|_| TransportError::Timeout)?
    }

    async fn open_unbounded(
        endpoint: &Endpoint,
        trust: &Trust,
        protocol: Protocol,
    ) -> Result<Self, TransportError> {
        let alpn: &[u8] = if protocol == Protocol::Http2 { b"h2" } else { b"http/1.1" };
        // Before connecting, so that a mistake in the settings shows without a server.
        let tls = if endpoint.tls() {
            Some((TlsConnector::from(trust.config(endpoint, &[alpn])?), server_name(endpoint)?))
        } else {
            None
        };
        let tcp = connect(endpoint).await?;
        let sender = match tls {
            Some((connector, name)) => {
                let stream = connector
                    .connect(name, tcp)
                    .await
                    .map_err(|source| TransportError::Handshake { address: address(endpoint), source })?;
                if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(TransportError::NoHttp2 { address: address(endpoint) });
                }
                Sender::over(stream, protocol).await?
            }
            None => Sender::over(tcp, protocol).await?,
        };
        let scheme = if endpoint.tls() { "https" } else { "http" };
        Ok(Self { sender, scheme, authority: endpoint.authority().to_owned() })
    }

    /// Sends a request with an origin-form URI and a `host` header, and waits for the whole answer.
    pub async fn send(&mut self, request: http::Request<Bytes>) -> Result<Answer, TransportError> {
        let exchange = self.send_unbounded(request);
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| TransportError::Timeout)?
    }

    async fn send_unbounded(&mut self, request: http::Request<Bytes>) -> Result<Answer, TransportError> {
        let mut request = request.map(Full::new);
        let start = Instant::now();
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                // `:authority` takes the place of `host` (RFC 9113, section 8.3.1).
                request.headers_mut().remove(HOST);
                let path = request.uri().path();
                let absolute = format!("{}://{}{path}", self.scheme, self.authority);
                *request.uri_mut() =
                    absolute.parse().map_err(|error| TransportError::Body(Box::new(error)))?;
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(TransportError::Body)?.to_bytes();
        Ok(Answer {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body,
            elapsed: start.elapsed(),
        })
    }
}

impl Sender {
    async fn over<S>(stream: S, protocol: Protocol) -> Result<Self, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The driver ends with the connection; what broke it reaches the request that was under way.
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                Self::Http2(sender)
            }
        })
    }
}

/// A TCP connection without Nagle's delay.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<TcpStream, TransportError> {
    let failed = |source| TransportError::Connect { address: address(endpoint), source };
    let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

pub(crate) fn address(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host(), endpoint.port())
}
