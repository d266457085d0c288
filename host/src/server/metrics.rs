//! `GET /metrics` on an address of its own, for Prometheus.

use super::Exchange;
use crate::metrics::text;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Scrapes at a time.
const CONNECTIONS: usize = 16;

/// Serves the counters of `exchange` until the process ends.
pub async fn listen(address: SocketAddr, exchange: Arc<Exchange>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "metrics");
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let exchange = exchange.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let found = request.uri().path() == "/metrics";
                    let body = if found { text(&exchange) } else { "see /metrics\n".to_owned() };
                    let mut response = http::Response::new(Full::new(bytes::Bytes::from(body)));
                    if !found {
                        *response.status_mut() = http::StatusCode::NOT_FOUND;
                    }
                    std::future::ready(Ok::<_, Infallible>(response))
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(5))
                    .serve_connection(TokioIo::new(stream), service);
                // A scraper that goes away early is no news.
                let _ = tokio::time::timeout(Duration::from_secs(60), connection).await;
                drop(slot);
            });
        }
    });
    Ok(())
}
