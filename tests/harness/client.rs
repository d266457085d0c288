//! Requests signed by the aws-sigv4 crate.

use std::time::SystemTime;

use bytes::Bytes;
use holdfast_client::{Endpoint, Operation, Protocol, Signer, TransportError, Trust};
use zeroize::Zeroizing;

use crate::host::{Credential, Host};
use crate::reply::Reply;

/// A blocking client over one connection, which it opens again when it was lost.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    inner: holdfast_client::Client,
}

impl Client {
    /// Of a key store at `uri_path`, with `credential`, for `region`.
    pub fn new(
        host: &Host,
        uri_path: &str,
        credential: &Credential,
        region: &str,
        protocol: Protocol,
    ) -> Client {
        let name = if host.is_tls() { "localhost" } else { "127.0.0.1" };
        let scheme = if host.is_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{name}:{}", host.address().port());
        let endpoint = Endpoint::parse(&url, Some(uri_path)).unwrap();
        let secret = Zeroizing::new(credential.secret.clone());
        let signing = holdfast_client::Credential::new(&credential.access_key_id, secret).unwrap();
        let signer = Signer::new(&signing, region).unwrap();
        let trust = Trust::CaFile(host.ca_file());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Client { runtime, inner: holdfast_client::Client::new(endpoint, trust, protocol, signer) }
    }

    /// A signed request that isn't sent yet. `key` is ignored for health.
    #[track_caller]
    pub fn request(&self, operation: Operation, key: &str, body: impl ToString) -> http::Request<Bytes> {
        self.request_at(operation, key, body, SystemTime::now())
    }

    /// The same, signed for another time.
    #[track_caller]
    pub fn request_at(
        &self,
        operation: Operation,
        key: &str,
        body: impl ToString,
        time: SystemTime,
    ) -> http::Request<Bytes> {
        self.inner.raw_request(operation, key, body.to_string().into(), time).unwrap()
    }

    /// Sends a request as it is.
    pub fn try_send(&mut self, request: http::Request<Bytes>) -> Result<Reply, TransportError> {
        self.runtime.block_on(self.inner.send(request)).map(Reply::from)
    }

    /// Sends a request as it is.
    #[track_caller]
    pub fn send(&mut self, request: http::Request<Bytes>) -> Reply {
        self.try_send(request).unwrap()
    }

    /// Signs and sends.
    #[track_caller]
    pub fn call(&mut self, operation: Operation, key: &str, body: impl ToString) -> Reply {
        let request = self.request(operation, key, body);
        self.send(request)
    }

    /// Whether the connection is the one that was opened first; lost ones are opened anew by the next call.
    pub fn connects_anew(&mut self) -> bool {
        self.runtime.block_on(self.inner.connect()).unwrap().is_some()
    }
}
