//! A received request that nobody vouches for yet.

use super::admission::Admission;
use super::authenticator::Authenticator;
use super::key_store::KeyStore;
use super::received::ReceivedBody;
use super::trace::Trace;
use bytes::BytesMut;
use holdfast_gate::body::Body;
use holdfast_gate::sigv4::{AuthenticationFault, Headers, check_head};
use holdfast_gate::target::{Call, Target};
use holdfast_gate::{ErrorName, Refusal};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The head of a request, its path checked against the grammar.
pub struct Head {
    /// As received.
    pub method: http::Method,
    /// As received.
    pub path: String,
    /// As received, `host` filled in from `:authority` over HTTP/2.
    pub headers: HeaderMap,
    /// The subject of the client's certificate, with mutual TLS.
    pub tls_peer: Option<Arc<str>>,
}

/// A head, its body still on the wire, and the key store that the path names.
pub struct Request {
    head: Head,
    body: ReceivedBody,
    store: Arc<KeyStore>,
    authenticator: Arc<Authenticator>,
    body_limit: usize,
}

impl Request {
    /// From the server, which has checked the path's grammar and found the key store.
    pub fn new(
        head: Head,
        body: ReceivedBody,
        store: Arc<KeyStore>,
        authenticator: Arc<Authenticator>,
        body_limit: usize,
    ) -> Request {
        Request { head, body, store, authenticator, body_limit }
    }

    /// Authenticates: the cheap checks on the head, then the body's hash and the signature. Only then is the body
    /// read as JSON. Gives the admission and the body's text.
    pub async fn admit(self, trace: &mut Trace) -> Result<(Admission, String), Refusal> {
        let Request { head, body, store, authenticator, body_limit } = self;
        let claim = match authenticator.claim(&head).await? {
            Ok(claim) => claim,
            Err(fault) => return Err(unauthenticated(trace, fault)),
        };
        let headers = Headers::new(head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect());
        let checked =
            check_head(head.method.as_str(), &head.path, &headers, &claim, trace.time, &store.regions)
                .map_err(|fault| unauthenticated(trace, fault))?;
        let Some(credential) = store.credentials.get(&claim.access_key_id) else {
            return Err(unauthenticated(trace, AuthenticationFault::AccessKeyId));
        };
        let bytes = read_body(body, body_limit).await?;
        let key = credential.signing_key(checked.date(), checked.region());
        checked
            .verify(&Sha256::digest(&bytes).into(), &key)
            .map_err(|fault| unauthenticated(trace, fault))?;
        trace.access_key_id = Some(claim.access_key_id.clone());

        let call = Target::parse(&head.path).ok().and_then(|target| target.call());
        let call = call.ok_or(Refusal::new(ErrorName::InvalidUriPath, "no such API"))?;
        if let Call::Key { key_id, operation } = call {
            trace.key_id = Some(key_id.to_owned());
            trace.operation = Some(operation);
        }
        if store.rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Refusal::new(
                ErrorName::Throttling,
                "more requests than this key store's rate_limit; raise it or spread them over time",
            ));
        }
        let read = Body::read(&bytes, call)?;
        trace.metadata = Some(read.metadata);
        let text = String::from_utf8(bytes.into())
            .map_err(|_| Refusal::new(ErrorName::Validation, "the body is not UTF-8"))?;
        let admission = Admission::new(store, claim.access_key_id, head.tls_peer, read.inputs);
        Ok((admission, text))
    }
}

fn unauthenticated(trace: &mut Trace, fault: AuthenticationFault) -> Refusal {
    trace.authentication_fault = Some(fault);
    Refusal::new(ErrorName::AuthenticationFailed, fault.message())
}

/// The whole body, refused before it is read when its length says that it is too long.
async fn read_body(mut body: ReceivedBody, limit: usize) -> Result<BytesMut, Refusal> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(too_long(limit));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Refusal::new(ErrorName::Validation, "the body ended early or could not be read"))?;
        // Trailers are no part of what is signed, and nobody asks for them.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_long(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn too_long(limit: usize) -> Refusal {
    Refusal::with(
        ErrorName::UnsupportedOperation,
        format!("the body is longer than the {limit} bytes that this proxy takes"),
    )
}
