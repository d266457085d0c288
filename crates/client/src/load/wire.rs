//! HTTP/1.1 as far as the load generator needs it: a request goes out in one write, an answer has a content-length.
//!
//! The generator runs on the server's cores. With hyper's client and aws-sigv4 a request takes about twice its CPU.

use std::ops::Range;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::{TransportError, address, connect};
use crate::endpoint::Endpoint;

const ANSWER_LIMIT: usize = 1 << 20;

pub(super) struct Wire {
    stream: Stream,
    /// The answer's bytes are at its start, `filled` of them.
    input: Vec<u8>,
    filled: usize,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Reply {
    pub(super) status: u16,
    /// Of the wire's input; see [`Wire::body`].
    body: Range<usize>,
    /// The server ends the connection after it.
    pub(super) close: bool,
}

/// Why there was no answer. The text is the key it is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("the connection broke")]
    Broken,
    #[error("the connection was closed before the answer")]
    Closed,
    #[error("the answer isn't HTTP/1.1 with a content-length")]
    Malformed,
}

impl Wire {
    pub(super) async fn open(
        endpoint: &Endpoint,
        tls: Option<&(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Result<Self, TransportError> {
        let tcp = connect(endpoint).await?;
        let stream = match tls {
            None => Stream::Plain(tcp),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let failed = |source| TransportError::Handshake { address: address(endpoint), source };
                Stream::Tls(Box::new(connector.connect(name.clone(), tcp).await.map_err(failed)?))
            }
        };
        Ok(Self { stream, input: vec![0; 16 * 1024], filled: 0 })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Reply, WireError> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(request).await.map_err(|_| WireError::Broken)?,
            Stream::Tls(tls) => {
                tls.write_all(request).await.map_err(|_| WireError::Broken)?;
                tls.flush().await.map_err(|_| WireError::Broken)?;
            }
        }
        self.filled = 0;
        let mut reply: Option<Reply> = None;
        loop {
            if self.filled == self.input.len() {
                if self.filled >= ANSWER_LIMIT {
                    return Err(WireError::Malformed);
                }
                self.input.resize(self.filled * 2, 0);
            }
            let free = &mut self.input[self.filled..];
            let read = match &mut self.stream {
                Stream::Plain(tcp) => tcp.read(free).await,
                Stream::Tls(tls) => tls.read(free).await,
            };
            match read {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => self.filled += count,
                Err(_) => return Err(WireError::Broken),
            }
            if reply.is_none() {
                reply = parse_head(&self.input[..self.filled])?;
            }
            match reply {
                Some(reply) if reply.body.end == self.filled => return Ok(reply),
                // More than was announced.
                Some(reply) if reply.body.end < self.filled => return Err(WireError::Malformed),
                _ => {}
            }
        }
    }

    pub(super) fn body(&self, reply: &Reply) -> &[u8] {
        self.input.get(reply.body.clone()).unwrap_or_default()
    }
}

/// `None` while the head is incomplete.
fn parse_head(input: &[u8]) -> Result<Option<Reply>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(WireError::Malformed),
    };
    let mut length: Option<usize> = None;
    let mut close = response.version != Some(1);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
        } else if header.name.eq_ignore_ascii_case("connection") {
            close |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = length.filter(|length| *length <= ANSWER_LIMIT).ok_or(WireError::Malformed)?;
    let status = response.code.ok_or(WireError::Malformed)?;
    Ok(Some(Reply { status, body: start..start + length, close }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_head_is_read_once_it_is_whole() {
        let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\nConnection: Close\r\n\r\n";
        for cut in 0..head.len() {
            assert!(matches!(parse_head(&head[..cut]), Ok(None)), "{cut}");
        }
        let reply = parse_head(head).unwrap().unwrap();
        assert_eq!((reply.status, reply.body, reply.close), (401, head.len()..head.len() + 7, true));
        for bad in ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "SSH-2.0-x\r\n\r\n"] {
            assert!(parse_head(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
