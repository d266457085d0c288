//! A connection that carries whatever bytes a test writes, over TCP or TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::host::Host;
use crate::reply::Reply;
use crate::wait::PATIENCE;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection. Reading is bounded by [`PATIENCE`].
pub struct Raw {
    stream: Stream,
    /// What came in and wasn't taken yet.
    received: Vec<u8>,
}

impl Raw {
    /// Connects to the host, by TLS with ALPN `http/1.1` when it speaks TLS.
    pub fn open(host: &Host) -> Raw {
        let tcp = Raw::tcp(host);
        let stream = if host.is_tls() {
            let connection = ClientConnection::new(
                Arc::new(client_config(host)),
                ServerName::try_from("localhost").unwrap(),
            );
            Stream::Tls(Box::new(StreamOwned::new(connection.unwrap(), tcp)))
        } else {
            Stream::Plain(tcp)
        };
        Raw { stream, received: Vec::new() }
    }

    /// Connects by TCP only, whatever the host speaks.
    pub fn open_tcp(host: &Host) -> Raw {
        Raw { stream: Stream::Plain(Raw::tcp(host)), received: Vec::new() }
    }

    fn tcp(host: &Host) -> TcpStream {
        let tcp = TcpStream::connect(host.address()).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp
    }

    /// Writes the bytes; an error when the host has closed the connection already.
    pub fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Writes the bytes.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        match self.try_write(bytes.as_ref()) {
            // The host may close first on a busy machine; the end shows in what is read next.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            result => result.unwrap(),
        }
    }

    /// Says that nothing more will be written.
    pub fn end_writing(&mut self) {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.shutdown(Shutdown::Write).unwrap(),
            Stream::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.flush().unwrap();
            }
        }
    }

    /// More bytes; none at the end. A reset is an end too.
    fn read_more(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut buffer),
            Stream::Tls(tls) => tls.read(&mut buffer),
        };
        let length = match read {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => 0,
            Err(error) => panic!("reading from the host: {error}"),
        };
        self.received.extend_from_slice(&buffer[..length]);
        length
    }

    /// The next answer; `None` when the connection ended instead.
    #[track_caller]
    pub fn next_reply(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, end)) = Reply::parse(&self.received) {
                self.received.drain(..end);
                return Some(reply);
            }
            if self.read_more() == 0 {
                assert!(
                    self.received.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(&self.received)
                );
                return None;
            }
        }
    }

    /// The next answer.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.next_reply().expect("the host closed the connection without an answer")
    }

    /// Writes a request and reads its answer.
    #[track_caller]
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.write(request);
        self.reply()
    }

    /// Waits until the host closes; how long that took, and what it sent before.
    pub fn until_closed(&mut self) -> (Duration, Vec<u8>) {
        let start = Instant::now();
        while self.read_more() > 0 {}
        (start.elapsed(), std::mem::take(&mut self.received))
    }
}

/// Trusts the host's own CA and offers HTTP/1.1.
fn client_config(host: &Host) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(host.ca_file()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
