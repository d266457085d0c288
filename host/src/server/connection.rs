//! One connection: handshake, HTTP/1.1 or HTTP/2 by ALPN, and an end for those that do nothing.

use super::answering::Answering;
use super::bare::BareErrors;
use super::connections::{Activity, STREAMS, Slot};
use super::exchange::{Exchange, Peer};
use super::handshakes::Kind;
use crate::config::Limits;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub struct Connection {
    pub slot: Arc<Slot>,
    pub peer: SocketAddr,
    pub limits: Limits,
    pub exchange: Arc<Exchange>,
    pub stop: watch::Receiver<bool>,
}

/// How long a stop waits for a request that is on its way: more than a round trip within a region.
const LINGER: Duration = Duration::from_millis(100);
/// How long a connection that is closed for doing nothing has for saying so.
const FAREWELL: Duration = Duration::from_millis(500);
/// Longer than any connection waits for its end.
const A_DAY: Duration = Duration::from_secs(86_400);
/// The least that hyper takes as the buffer for a head.
const LEAST_BUFFER: usize = 8192;

impl Connection {
    pub async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Some(tls) = tls else { return self.http1(stream).await };
        let handshake = tokio::time::timeout(self.limits.handshake_time, tls.accept(stream));
        let stream = tokio::select! {
            done = handshake => done,
            () = self.slot.activity.close.notified() => return,
        };
        match stream {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => self.http2(stream).await,
            Ok(Ok(stream)) => self.http1(stream).await,
            Ok(Err(error)) => self.exchange.handshakes.failed(Kind::of(&error), self.peer, error),
            Err(_) => self.exchange.handshakes.failed(Kind::Timeout, self.peer, "it took too long"),
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: S) {
        let service = self.service();
        let io = TokioIo::new(BareErrors::new(stream, self.slot.activity.clone()));
        let connection = http1::Builder::new()
            // A client that has said all gets its answer all the same.
            .half_close(true)
            // The time of heads is watched by `Activity`, with one timer a connection and not one a request.
            .header_read_timeout(None)
            .max_buf_size(self.limits.header_bytes.max(LEAST_BUFFER))
            .serve_connection(io, service_fn(service));
        self.drive(connection, stopped(self.stop.clone(), &self.slot.activity)).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let service = self.service();
        // Without `BareErrors`: frames between requests (settings, pings, windows) begin no head.
        let io = TokioIo::new(stream);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            // What a client may send before anybody reads it: a body for each stream, and four for the connection.
            .initial_stream_window_size(window(self.limits.body_bytes))
            .initial_connection_window_size(window(self.limits.body_bytes.saturating_mul(4)))
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .serve_connection(io, service_fn(service));
        let mut stop = self.stop.clone();
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        self.drive(connection, stopped).await;
    }

    /// Until the connection ends, by itself, after a stop, or for doing nothing.
    async fn drive<C>(&self, connection: C, stopped: impl Future<Output = ()>)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut connection = pin!(connection);
        let mut stopped = pin!(stopped);
        let mut stopping = false;
        let mut closing = false;
        let mut gone = pin!(tokio::time::sleep(A_DAY));
        let mut close = pin!(watch_over(&self.slot.activity, &self.limits));
        loop {
            tokio::select! {
                // What has arrived is read before the connection is closed for a stop, or for being idle.
                biased;
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(peer = %self.peer, %error, "connection");
                    }
                    return;
                }
                // With GOAWAY and close_notify, so that a client knows that a request which is on its way wasn't read.
                () = close.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    gone.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                }
                () = gone.as_mut(), if closing => return,
                () = stopped.as_mut(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn service(
        &self,
    ) -> impl Fn(hyper::Request<hyper::body::Incoming>) -> Answering + Send + Clone + 'static {
        let exchange = self.exchange.clone();
        let peer =
            Arc::new(Peer { address: self.peer.to_string(), certificate: None, slot: self.slot.clone() });
        move |request| exchange.clone().answer(request, peer.clone())
    }
}

/// Not less than HTTP/2 begins with (RFC 9113, section 6.9.2).
fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).max(65_535)
}

/// Ends when the stop was asked for and the connection takes no more requests. hyper closes a connection between two
/// requests at once, though the next one may be on its way already; so it gets [`LINGER`] to arrive, and its answer
/// says that the connection closes.
async fn stopped(mut stop: watch::Receiver<bool>, activity: &Activity) {
    if stop.wait_for(|stop| *stop).await.is_ok() && activity.closes_after_the_next() {
        tokio::time::sleep(LINGER).await;
    }
}

/// Ends when the connection has done nothing for too long, or has to make room.
async fn watch_over(activity: &Activity, limits: &Limits) {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (head, idle) = (ms(limits.header_time), ms(limits.idle_time));
    while let Some(patience) = activity.patience(head, idle) {
        tokio::select! {
            // Never longer than a head may take, so that one that begins meanwhile is seen before its time is over.
            () = tokio::time::sleep(Duration::from_millis(patience.min(head))) => {}
            () = activity.close.notified() => return,
        }
    }
}
