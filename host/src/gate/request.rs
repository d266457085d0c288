//! A received request that nobody vouches for yet.

use super::admission::Admission;
use super::authenticator::Authenticator;
use super::key_store::{Credential, KeyStore};
use super::trace::Trace;
use crate::rate::RateLimiter;
use bytes::BytesMut;
use holdfast_gate::request::{self, Authentic};
use holdfast_gate::sigv4::{AuthenticationFault, Headers};
use holdfast_gate::{Refusal, refusals};
use http::HeaderMap;
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
    store: Arc<KeyStore>,
    tls_peer: Option<Arc<str>>,
    credential: Arc<Credential>,
    expecting: request::Expecting,
}

/// A request as far as it was read. What authentication found shows when it is admitted.
pub struct Request {
    store: Arc<KeyStore>,
    tls_peer: Option<Arc<str>>,
    authenticated: Result<Authentic<BytesMut>, Fault>,
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
        let checked = check(&head, &store, authenticator, now).await;
        let tls_peer = head.tls_peer;
        match checked {
            Ok((expecting, credential)) => Ok(Expecting { store, tls_peer, credential, expecting }),
            Err(fault) => Err(Request { store, tls_peer, authenticated: Err(fault) }),
        }
    }

    /// Refuses what can't be admitted before a proxy is run on it, as refusing is what the host may always do: it spares
    /// unsigned and forged requests most of their cost. What calls no API is the proxy's to refuse.
    pub fn refuse_early(&self, trace: &mut Trace) -> Result<(), Refusal> {
        match &self.authenticated {
            Ok(_) | Err(Fault::NoCall) => Ok(()),
            Err(Fault::Other(refusal)) => Err(refusal.clone()),
            Err(Fault::Authentication(fault)) => Err(unauthenticated(trace, *fault)),
        }
    }

    /// Only a request with a good signature and a valid body is admitted. Gives the admission and the body's text.
    pub async fn admit(self, trace: &mut Trace) -> Result<(Admission, String), Refusal> {
        let Request { store, tls_peer, authenticated } = self;
        let authentic = authenticated.map_err(|fault| match fault {
            Fault::NoCall => refusals::no_such_api(),
            Fault::Other(refusal) => refusal,
            Fault::Authentication(fault) => unauthenticated(trace, fault),
        })?;
        let within_rate = store.rate.as_ref().is_none_or(RateLimiter::take);
        let (admitted, text) = authentic.admit(within_rate, &mut trace.known)?;
        Ok((Admission::new(store, tls_peer, admitted), text))
    }
}

impl Expecting {
    /// The request with the body that came, or with why none did. Compares the signature; where it is good the body is read
    /// as JSON, and the trace has what is signed.
    pub fn complete(self, body: Result<BytesMut, Refusal>, trace: &mut Trace) -> Request {
        let Expecting { store, tls_peer, credential, expecting } = self;
        let verified = |body: BytesMut| {
            let key = |date: &[u8], region: &str| credential.signing_key(date, region);
            Ok(expecting.complete(body, key, &mut trace.known)?)
        };
        Request { store, tls_peer, authenticated: body.map_err(Fault::Other).and_then(verified) }
    }
}

async fn check(
    head: &Head,
    store: &KeyStore,
    authenticator: &Authenticator,
    now: u64,
) -> Result<(request::Expecting, Arc<Credential>), Fault> {
    let headers = Headers::new(head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect());
    // What is no call needs no authentication to be refused: the proxy component says how.
    let head = request::Head::new(head.method.as_str(), &head.path, headers).ok_or(Fault::NoCall)?;
    let claim = authenticator.claim(&head.text()?).await??;
    Ok(head.check(claim, now, &store.regions, |id| store.credentials.get(id))?)
}

fn unauthenticated(trace: &mut Trace, fault: AuthenticationFault) -> Refusal {
    trace.known.authentication_fault = Some(fault);
    fault.into()
}
