//! A received request, from its head to its admission.

use sha2::{Digest, Sha256};

use crate::admission::Admission;
use crate::body::{Body, Inputs};
use crate::sigv4::{AuthenticationFault, CheckedHead, Claim, Headers, SigningKey, check_head};
use crate::target::{Call, Called, Target};
use crate::trace::Trace;
use crate::{ErrorName, Refusal};

/// The head of a request that calls an API.
pub struct Head<'a> {
    method: &'a str,
    path: &'a str,
    headers: Headers<'a>,
    call: Call<'a>,
}

/// A head that passed the cheap checks, so that its body is worth waiting for. Made only by [`Head::check`].
pub struct Expecting {
    access_key_id: String,
    called: Called,
    checked: CheckedHead,
}

/// A request with a good signature, its body as received. Made only by [`Expecting::complete`].
pub struct Authentic<B> {
    access_key_id: String,
    body: B,
    /// The body's reading, the only one.
    inputs: Result<Inputs, Refusal>,
}

impl<'a> Head<'a> {
    /// Method, path and headers as received; over HTTP/2 with `host` from `:authority`. `None` where that calls no API,
    /// and so needs no authentication to be refused.
    pub fn new(method: &'a str, path: &'a str, headers: Headers<'a>) -> Option<Head<'a>> {
        let call = Target::parse(path).ok()?.call().filter(|_| method == "POST")?;
        Some(Head { method, path, headers, call })
    }

    /// The head as the contract `holdfast:authn` has it: request line, then a line for each header.
    pub fn text(&self) -> Result<Vec<u8>, AuthenticationFault> {
        if !self.headers.iter().any(|(name, _)| name == "authorization") {
            return Err(AuthenticationFault::Claim);
        }
        let mut text = Vec::with_capacity(1024);
        text.extend_from_slice(self.method.as_bytes());
        text.push(b' ');
        text.extend_from_slice(self.path.as_bytes());
        text.push(b'\n');
        for (name, value) in self.headers.iter() {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        Ok(text)
    }

    /// The cheap checks, at `now` in seconds since 1970. `credential` finds the one of an access key id.
    pub fn check<C>(
        &self,
        claim: Claim,
        now: u64,
        regions: &[String],
        credential: impl FnOnce(&str) -> Option<C>,
    ) -> Result<(Expecting, C), AuthenticationFault> {
        let (checked, credential) =
            check_head(self.method, self.path, &self.headers, &claim, now, regions, credential)?;
        let called = Called::from(self.call);
        Ok((Expecting { access_key_id: claim.access_key_id, called, checked }, credential))
    }
}

impl Expecting {
    /// Compares the signature, now that the body is there. `key` derives the signing key of a date (`YYYYMMDD`) and region.
    /// Where it is good the body is read as JSON, and the trace is told what is signed, so that the request has its record
    /// whatever becomes of it.
    pub fn complete<B: AsRef<[u8]>>(
        self,
        body: B,
        key: impl FnOnce(&[u8], &str) -> SigningKey,
        trace: &mut Trace,
    ) -> Result<Authentic<B>, AuthenticationFault> {
        let Expecting { access_key_id, called, checked } = self;
        let key = key(checked.date(), checked.region());
        checked.verify(&Sha256::digest(body.as_ref()).into(), &key)?;
        trace.access_key_id = Some(access_key_id.clone());
        let read = Body::read(body.as_ref(), called.call());
        trace.called = Some(called);
        let inputs = read.and_then(|Body { metadata, inputs }| {
            trace.metadata = Some(metadata);
            inputs
        });
        Ok(Authentic { access_key_id, body, inputs })
    }
}

impl<B: Into<Vec<u8>>> Authentic<B> {
    /// Only a request with a valid body is admitted. `within_rate` says whether the key store takes another request. Gives the
    /// admission and the body's text.
    pub fn admit(self, within_rate: bool, trace: &mut Trace) -> Result<(Admission, String), Refusal> {
        let Authentic { access_key_id, body, inputs } = self;
        if !within_rate {
            trace.throttled = true;
            return Err(Refusal::new(
                ErrorName::Throttling,
                "more requests than this key store's rate_limit; raise it or spread them over time",
            ));
        }
        let inputs = inputs?;
        let text = String::from_utf8(body.into())
            .map_err(|_| Refusal::new(ErrorName::Validation, "the body is not UTF-8"))?;
        trace.admitted = true;
        Ok((Admission::new(access_key_id, inputs), text))
    }
}
