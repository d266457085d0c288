//! One request from head to answer: what is known of it, what may leave, and what is recorded.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_gate::body::RequestMetadata;
use holdfast_gate::query::{Decision, Operation};
use holdfast_gate::record::Record;
use holdfast_gate::reply::{self, Outcome, Reply, Words};
use holdfast_gate::target::Call;
use holdfast_gate::{ErrorName, Refusal};
use zeroize::Zeroizing;

use crate::home::Store;
use crate::keys;
use crate::outside::{Clock, Outside};

/// What is known of a request so far.
pub struct Trace {
    pub(crate) received: Clock,
    pub(crate) access_key_id: Option<String>,
    pub(crate) metadata: Option<RequestMetadata>,
    pub(crate) called: Option<Called>,
    pub(crate) decision: Option<Decision>,
    pub(crate) refused: Option<Refusal>,
    pub(crate) outcome: Outcome,
    /// Once it was answered, nothing more is done on its behalf: a proxy may have kept an admission or a grant.
    answered: bool,
}

/// What a signed path asks for: [`Call`], kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Health,
    Key { key_id: String, operation: Operation },
}

impl Called {
    pub(crate) fn call(&self) -> Call<'_> {
        match self {
            Called::Health => Call::Health,
            Called::Key { key_id, operation } => Call::Key { key_id, operation: *operation },
        }
    }
}

impl From<Call<'_>> for Called {
    fn from(call: Call<'_>) -> Called {
        match call {
            Call::Health => Called::Health,
            Call::Key { key_id, operation } => Called::Key { key_id: key_id.to_owned(), operation },
        }
    }
}

impl Trace {
    /// Refuses what would be done after the answer.
    pub(crate) fn goes_on(&self) -> Result<(), Refusal> {
        if self.answered { Err(differs("it was answered already")) } else { Ok(()) }
    }

    /// Keeps the reason of a refusal for the audit record.
    pub(crate) fn note(&mut self, refusal: &Refusal) {
        self.refused = Some(refusal.clone());
    }
}

/// What a component said differs from what was signed.
pub(crate) fn differs(what: &str) -> Refusal {
    Refusal::with(ErrorName::Internal, format!("the request was not processed as it was signed: {what}"))
}

/// The end of a request's way.
pub struct Exchange {
    store: Store,
    trace: Rc<RefCell<Trace>>,
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
        let trace = Trace {
            received,
            access_key_id: None,
            metadata: None,
            called: None,
            decision: None,
            refused: None,
            outcome: Outcome::Nothing,
            answered: false,
        };
        Exchange { store, trace: Rc::new(RefCell::new(trace)) }
    }

    pub(crate) fn trace(&self) -> Rc<RefCell<Trace>> {
        self.trace.clone()
    }

    /// Checks the proxy's answer: a success only if it says what was done, an error only in the specification's terms, and
    /// no error at all of what was done. What leaves is the gate's own text.
    pub fn close(self, status: u16, body: String, outside: &mut dyn Outside) -> Closed {
        let body = Zeroizing::new(body);
        self.trace.borrow_mut().answered = true;
        let trace = self.trace.borrow();
        // Always in the gate's words: the proxy's instance may have seen the bodies of others.
        let words = Words::Gates(trace.refused.as_ref());
        let (status, body, error) = match reply::check(status, &body, &trace.outcome, words) {
            Ok(Reply::Success(body)) => (200, String::from_utf8_lossy(&body).into_owned(), None),
            Ok(Reply::Error(status, refusal)) => (status, refusal.to_json(), Some(refusal.name)),
            Err(_) => {
                let refusal = Refusal::new(ErrorName::Internal, ErrorName::Internal.message());
                (refusal.name.status(), refusal.to_json(), Some(refusal.name))
            }
        };
        let record = trace.access_key_id.is_some().then(|| self.record(&trace, status, error, outside.now()));
        Closed { status, body, record }
    }

    fn record(&self, trace: &Trace, status: u16, error: Option<ErrorName>, now: Clock) -> String {
        let done = !matches!(trace.outcome, Outcome::Nothing | Outcome::Health(_));
        let record = Record {
            received: trace.received.milliseconds(),
            key_store: self.store.name(),
            access_key_id: trace.access_key_id.as_deref(),
            called: trace.called.as_ref().map(Called::call),
            policy_time: trace.received.seconds,
            client: None,
            tls_peer: None,
            metadata: trace.metadata.as_ref(),
            decision: trace.decision.as_ref(),
            policy: None,
            key_manager: done.then_some(keys::MANAGER),
            status,
            error,
            reason: trace.refused.as_ref().map(|refusal| refusal.message.as_ref()),
            microseconds: now.microseconds_since(trace.received),
            components: None,
        };
        let mut line = record.line();
        line.truncate(line.trim_end().len());
        line
    }
}
