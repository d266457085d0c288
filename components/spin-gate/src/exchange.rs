//! One request from head to answer: what is known of it, what may leave, and what is recorded.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_gate::record::Record;
use holdfast_gate::refusals::differs;
use holdfast_gate::reply::{self, Reply, Words};
use holdfast_gate::{ErrorName, Refusal};
use zeroize::Zeroizing;

use crate::outside::{Clock, Outside};
use crate::store::Store;

/// What is known of a request so far.
pub struct Trace {
    /// What every home of the gate knows.
    pub(crate) known: holdfast_gate::Trace,
    /// When its head was read.
    received: Clock,
    /// Once it was answered, nothing more is done on its behalf: a proxy may have kept an admission or a grant.
    answered: bool,
}

/// The steps of one request and its end share it.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<Trace>>);

impl Shared {
    /// Does a step, unless the request was answered already. The reason of a refusal is kept for the audit record.
    pub(crate) fn step<T>(
        &self,
        step: impl FnOnce(&mut holdfast_gate::Trace) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut trace = self.0.borrow_mut();
        if trace.answered {
            return Err(differs("it was answered already"));
        }
        step(&mut trace.known).inspect_err(|refusal| trace.known.note(refusal))
    }
}

/// The end of a request's way.
pub struct Exchange {
    store: Store,
    trace: Shared,
}

/// What may leave, and what is to be recorded before.
pub struct Closed {
    /// The HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// The audit record, a line without its end, for signed requests.
    pub record: Option<String>,
}

impl Exchange {
    pub(crate) fn new(store: Store, received: Clock) -> Exchange {
        let known = holdfast_gate::Trace::new(received.seconds);
        let trace = Trace { known, received, answered: false };
        Exchange { store, trace: Shared(Rc::new(RefCell::new(trace))) }
    }

    pub(crate) fn trace(&self) -> Shared {
        self.trace.clone()
    }

    /// Checks the proxy's answer: a success only if it says what was done, an error only in the specification's terms, and
    /// no error at all of what was done. What leaves is the gate's own text.
    pub fn close(self, status: u16, body: String, outside: &mut dyn Outside) -> Closed {
        let body = Zeroizing::new(body);
        let mut trace = self.trace.0.borrow_mut();
        trace.answered = true;
        // Always in the gate's words: the proxy's instance may have seen the bodies of others.
        let words = Words::Gates(trace.known.refused.as_ref());
        let (status, body, error) = match reply::check(status, &body, &trace.known.outcome, words) {
            Ok(Reply::Success(body)) => (200, String::from_utf8_lossy(&body).into_owned(), None),
            Ok(Reply::Error(status, refusal)) => (status, refusal.to_json(), Some(refusal.name)),
            Err(_) => {
                let refusal = Refusal::new(ErrorName::Internal, ErrorName::Internal.message());
                (refusal.name.status(), refusal.to_json(), Some(refusal.name))
            }
        };
        let record = trace.known.access_key_id.is_some().then(|| {
            let record = Record {
                trace: &trace.known,
                received: trace.received.milliseconds(),
                key_store: self.store.name(),
                client: None,
                tls_peer: None,
                policy: None,
                status,
                error,
                microseconds: outside.now().microseconds_since(trace.received),
                components: None,
            };
            let mut line = record.line();
            line.truncate(line.trim_end().len());
            line
        });
        Closed { status, body, record }
    }
}
