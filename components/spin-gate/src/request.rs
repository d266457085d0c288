//! A received request, from the checks of its head to its body.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_gate::body::Body;
use holdfast_gate::sigv4::{CheckedHead, SigningKey};
use holdfast_gate::{ErrorName, Refusal};
use sha2::{Digest, Sha256};

use crate::admission::Admission;
use crate::exchange::{Called, Exchange, Trace};
use crate::home::{BODY_LIMIT, Store, unauthenticated};

/// A head that was checked. Made only by [`crate::Home::open`].
pub struct Expecting {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) store: Store,
    pub(crate) exchange: Exchange,
    pub(crate) checked: Checked,
}

/// What the cheap checks leave.
pub(crate) struct Checked {
    pub(crate) access_key_id: String,
    pub(crate) verifying: CheckedHead,
    pub(crate) key: SigningKey,
    pub(crate) called: Called,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Longer than [`BODY_LIMIT`].
    TooLong,
    /// It ended early or could not be read.
    Broken,
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Refusal {
        match fault {
            BodyFault::TooLong => Refusal::with(
                ErrorName::UnsupportedOperation,
                format!("the body is longer than the {BODY_LIMIT} bytes that this proxy takes"),
            ),
            BodyFault::Broken => {
                Refusal::new(ErrorName::Validation, "the body ended early or could not be read")
            }
        }
    }
}

/// A request, the end of its way, and what the proxy is told of it.
pub struct Received {
    /// For the front.
    pub exchange: Exchange,
    /// For the proxy.
    pub request: Request,
    /// For the proxy: the method.
    pub method: String,
    /// For the proxy: what follows the key store's URI path.
    pub path: String,
}

impl Expecting {
    /// The request with the body that came, or with why none did. Compares the signature; what isn't authentic is refused
    /// here, before a proxy is asked.
    pub fn complete(self, body: Result<Vec<u8>, BodyFault>) -> Result<Received, (u16, String)> {
        let refused = |refusal: Refusal| (refusal.name.status(), refusal.to_json());
        let Expecting { method, path, store, exchange, checked } = self;
        let Checked { access_key_id, verifying, key, called } = checked;
        let body = body.map_err(|fault| refused(fault.into()))?;
        if body.len() > BODY_LIMIT {
            return Err(refused(BodyFault::TooLong.into()));
        }
        verifying.verify(&Sha256::digest(&body).into(), &key).map_err(unauthenticated)?;
        let authenticated = Authenticated { access_key_id, called, body };
        let request = Request { store, trace: exchange.trace(), authenticated };
        Ok(Received { exchange, request, method, path })
    }
}

/// An authentic request that wasn't read yet.
pub struct Request {
    store: Store,
    trace: Rc<RefCell<Trace>>,
    authenticated: Authenticated,
}

struct Authenticated {
    access_key_id: String,
    called: Called,
    body: Vec<u8>,
}

impl Request {
    /// Only now is the body read as JSON. Gives the admission and the body's text.
    pub fn admit(self) -> Result<(Admission, String), Refusal> {
        let trace = self.trace.clone();
        let result = self.admitted();
        if let Err(refusal) = &result {
            trace.borrow_mut().note(refusal);
        }
        result
    }

    fn admitted(self) -> Result<(Admission, String), Refusal> {
        let Request { store, trace, authenticated } = self;
        let Authenticated { access_key_id, called, body } = authenticated;
        let inputs = {
            let mut trace = trace.borrow_mut();
            trace.goes_on()?;
            trace.access_key_id = Some(access_key_id);
            let read = Body::read(&body, trace.called.insert(called).call())?;
            trace.metadata = Some(read.metadata);
            read.inputs?
        };
        let text = String::from_utf8(body)
            .map_err(|_| Refusal::new(ErrorName::Validation, "the body is not UTF-8"))?;
        Ok((Admission { store, trace, inputs }, text))
    }
}
