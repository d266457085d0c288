//! A received request that nobody vouches for yet.

use super::admission::Admission;
use super::authenticator::Authenticator;
use super::key_store::{Credential, KeyStore};
use super::trace::{Called, Trace};
use bytes::BytesMut;
use holdfast_gate::body::Body;
use holdfast_gate::sigv4::{AuthenticationFault, CheckedHead, Headers, check_head};
use holdfast_gate::target::{Call, Target};
use holdfast_gate::{ErrorName, Refusal};
use http::HeaderMap;
use http::header::AUTHORIZATION;
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

/// A head that was read and passed the cheap checks, so that its body is worth waiting for. Made only by
/// [`Request::open`].
pub struct Expecting {
    head: Head,
    store: Arc<KeyStore>,
    access_key_id: String,
    credential: Arc<Credential>,
    checked: CheckedHead,
}

/// A request as far as it was read. What authentication found shows when it is admitted.
pub struct Request {
    head: Head,
    store: Arc<KeyStore>,
    authenticated: Result<Authenticated, Fault>,
}

struct Authenticated {
    access_key_id: String,
    called: Called,
    body: BytesMut,
    /// The body's reading, the only one.
    read: Result<Body, Refusal>,
}

/// Why there is nothing to admit.
enum Fault {
    /// Another method than POST, or a path that is no API.
    NoCall,
    Authentication(AuthenticationFault),
    Other(Refusal),
}

impl From<AuthenticationFault> for Fault {
    fn from(fault: AuthenticationFault) -> Fault {
        Fault::Authentication(fault)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Other(refusal)
    }
}

impl Request {
    /// From the server, which has checked the path's grammar and found the key store. Makes the cheap checks on the head at
    /// `now`, in seconds since 1970; where one of them fails the body needn't be read, and the request is as whole as it gets.
    pub async fn open(
        head: Head,
        store: Arc<KeyStore>,
        authenticator: &Authenticator,
        now: u64,
    ) -> Result<Expecting, Request> {
        match check(&head, &store, authenticator, now).await {
            Ok((access_key_id, credential, checked)) => {
                Ok(Expecting { head, store, access_key_id, credential, checked })
            }
            Err(fault) => Err(Request { head, store, authenticated: Err(fault) }),
        }
    }

    /// Tells the trace what is signed, so that the request has its record whatever becomes of it. Refuses what can't be
    /// admitted before a proxy is run on it, as refusing is what the host may always do: it spares unsigned and forged
    /// requests most of their cost. What calls no API is the proxy's to refuse.
    pub fn begin(&mut self, trace: &mut Trace) -> Result<(), Refusal> {
        match &mut self.authenticated {
            Ok(signed) => {
                trace.access_key_id = Some(signed.access_key_id.clone());
                trace.called = Some(signed.called.clone());
                trace.metadata = signed.read.as_mut().ok().map(|read| std::mem::take(&mut read.metadata));
                Ok(())
            }
            Err(Fault::NoCall) => Ok(()),
            Err(Fault::Other(refusal)) => Err(refusal.clone()),
            Err(Fault::Authentication(fault)) => Err(unauthenticated(trace, *fault)),
        }
    }

    /// Only a request with a good signature and a valid body is admitted. Gives the admission and the body's text.
    pub async fn admit(self, trace: &mut Trace) -> Result<(Admission, String), Refusal> {
        let Request { head, store, authenticated } = self;
        let Authenticated { access_key_id, called: _, body, read } = match authenticated {
            Ok(authenticated) => authenticated,
            Err(Fault::NoCall) => return Err(Refusal::new(ErrorName::InvalidUriPath, "no such API")),
            Err(Fault::Other(refusal)) => return Err(refusal),
            Err(Fault::Authentication(fault)) => return Err(unauthenticated(trace, fault)),
        };
        if store.rate.as_ref().is_some_and(|rate| !rate.take()) {
            return Err(Refusal::new(
                ErrorName::Throttling,
                "more requests than this key store's rate_limit; raise it or spread them over time",
            ));
        }
        let inputs = read?.inputs?;
        let text = String::from_utf8(body.into())
            .map_err(|_| Refusal::new(ErrorName::Validation, "the body is not UTF-8"))?;
        trace.admitted = true;
        Ok((Admission::new(store, access_key_id, head.tls_peer, inputs), text))
    }
}

impl Expecting {
    /// The request with the body that came, or with why none did. Compares the signature; only then is the body read as JSON.
    pub fn complete(self, body: Result<BytesMut, Refusal>) -> Request {
        let Expecting { head, store, access_key_id, credential, checked } = self;
        let verified = |body: BytesMut| {
            let key = credential.signing_key(checked.date(), checked.region());
            checked.verify(&Sha256::digest(&body).into(), &key)?;
            let call = called(&head).ok_or(Fault::NoCall)?;
            let read = Body::read(&body, call);
            Ok(Authenticated { access_key_id, called: call.into(), body, read })
        };
        let authenticated = body.map_err(Fault::Other).and_then(verified);
        Request { head, store, authenticated }
    }
}

async fn check(
    head: &Head,
    store: &KeyStore,
    authenticator: &Authenticator,
    now: u64,
) -> Result<(String, Arc<Credential>, CheckedHead), Fault> {
    // What is no call needs no authentication to be refused: the proxy component says how.
    called(head).ok_or(Fault::NoCall)?;
    if !head.headers.contains_key(AUTHORIZATION) {
        return Err(AuthenticationFault::Claim.into());
    }
    let claim = authenticator.claim(head).await??;
    let headers = Headers::new(head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect());
    let checked = check_head(head.method.as_str(), &head.path, &headers, &claim, now, &store.regions)?;
    let credential = store.credentials.get(&claim.access_key_id).ok_or(AuthenticationFault::AccessKeyId)?;
    Ok((claim.access_key_id, credential, checked))
}

fn unauthenticated(trace: &mut Trace, fault: AuthenticationFault) -> Refusal {
    trace.authentication_fault = Some(fault);
    Refusal::new(ErrorName::AuthenticationFailed, fault.message())
}

/// What the path calls by POST.
fn called(head: &Head) -> Option<Call<'_>> {
    let call = Target::parse(&head.path).ok().and_then(|target| target.call());
    call.filter(|_| head.method == http::Method::POST)
}
