//! `GET /metrics` on an address of its own, for Prometheus.

use super::page::Format;
use super::scrape::Scrape;
use crate::server::Exchange;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
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
    let scrape = Arc::new(Scrape::of(exchange));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let scrape = scrape.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let response = answer(&scrape, &request);
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

fn answer(scrape: &Scrape, request: &hyper::Request<hyper::body::Incoming>) -> http::Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        let mut response = http::Response::new(Full::from("see /metrics\n"));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        return response;
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of(accept.unwrap_or_default());
    let mut response = http::Response::new(Full::from(scrape.text(format)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}
