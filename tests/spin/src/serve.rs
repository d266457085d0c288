//! HTTP, as Spin's trigger has it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wasmtime::Result;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::{ProxyHandler, ProxyPre};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::compile;
use crate::options::Options;
use crate::state;
use crate::worker::Instances;

/// What Spin calls the variables of its environment provider.
const PREFIX: &str = "SPIN_VARIABLE_";

fn variables() -> HashMap<String, String> {
    let named = |(name, value): (String, String)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), value));
    std::env::vars().filter_map(named).collect()
}

pub async fn run(options: Options) -> Result<()> {
    let engine = compile::engine(options.optimise)?;
    let component = compile::component(&engine, &options)?;
    let pre = state::linker(&engine)?.instantiate_pre(&component)?;
    let instances = Instances {
        engine,
        pre: ProxyPre::P3(ServicePre::new(pre)?),
        variables: Arc::new(variables()),
        reuse: options.reuse,
        concurrent: options.concurrent,
    };
    let handler = ProxyHandler::new(instances);
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let handler = handler.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(handler, request).await) }
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // What a client does to its connection is its own affair.
            drop(served.await);
        });
    }
}

async fn answer(handler: ProxyHandler<Instances>, request: Request<Incoming>) -> Response<WasiBody> {
    let (mut parts, body) = request.into_parts();
    parts.uri = absolute(&parts);
    let body = body.map_err(wasmtime_wasi_http::Error::from).boxed_unsync();
    match handler.handle((), Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("no answer: {error:?}");
            let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// Spin takes the authority from the header `host`, and leaves none without.
fn absolute(parts: &http::request::Parts) -> Uri {
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority: Option<Authority> = host.and_then(|host| host.parse().ok());
    let Some(authority) = authority else { return parts.uri.clone() };
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path);
    uri.build().unwrap_or_else(|_| parts.uri.clone())
}
