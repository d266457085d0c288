//! The server: TLS and HTTP framing, the grammar of the target, limits and the deadline. All else of a request is read
//! in components or behind the gate.

mod answering;
mod bare;
mod connection;
mod connections;
mod exchange;
mod handshakes;
mod ping;
mod response;
pub mod tls;
mod waiting;

pub use connections::Connections;
pub use exchange::Exchange;
pub use handshakes::{Handshakes, Kind as HandshakeFailure};
pub use waiting::WaitingRoom;

use crate::config::Limits;
use connection::Connection;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::ServedCertificate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A listener and what answers on it.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<ServedCertificate>>,
    limits: Limits,
    exchange: Arc<Exchange>,
    connections: Arc<Connections>,
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// After an error of `accept` that isn't a single connection's, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

impl Server {
    /// Binds `address`.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServedCertificate>>,
        limits: Limits,
        exchange: Arc<Exchange>,
    ) -> std::io::Result<Server> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let connections = exchange.connections.clone();
        Ok(Server { listener, tls, limits, exchange, connections })
    }

    /// Where it listens; the port that was taken for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is true; then takes no more connections, lets every accepted request be answered, and
    /// returns when all is answered or the drain time is over.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.connected(stream, peer, &stop),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "can't accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.accept_those_that_wait(&stop).await;
        let Server { listener, limits, connections, .. } = self;
        drop(listener);
        let drained = tokio::time::timeout(limits.drain_time, connections.all_gone()).await;
        if drained.is_err() {
            tracing::warn!(open = connections.open(), "the drain time is over; open connections are closed");
        }
    }

    fn connected(&self, stream: TcpStream, peer: SocketAddr, stop: &watch::Receiver<bool>) {
        let Some(slot) = self.connections.take(self.limits.connections) else { return };
        let connection = Connection {
            slot,
            peer,
            limits: self.limits.clone(),
            exchange: self.exchange.clone(),
            stop: stop.clone(),
        };
        tokio::spawn(connection.serve(stream, self.tls.as_deref().map(ServedCertificate::acceptor)));
    }

    /// Those in the listen queue are connected as their clients see it, and may have sent a request.
    async fn accept_those_that_wait(&self, stop: &watch::Receiver<bool>) {
        for _ in 0..BACKLOG {
            // A ready queue gives its next connection at once.
            match tokio::time::timeout(Duration::ZERO, self.listener.accept()).await {
                Ok(Ok((stream, peer))) => self.connected(stream, peer, stop),
                Ok(Err(error)) if is_of_one_connection(&error) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
