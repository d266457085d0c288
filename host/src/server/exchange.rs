//! One request and its answer.

use super::answering::Answering;
use super::connections::{Connections, STREAMS, Slot};
use super::handshakes::Handshakes;
use super::ping;
use super::waiting::WaitingRoom;
use crate::audit::{self, AuditLog, Finished, Tally};
use crate::counters::Counters;
use crate::gate::{Authenticator, Head, KeyStore, KeyStores, ReceivedBody, Request, Trace, unix_time};
use crate::proxy::{Answer, Proxy};
use holdfast_gate::target::{Target, TargetFault};
use holdfast_gate::{ErrorName, Refusal, refusals};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What answers requests.
pub struct Exchange {
    /// Of the configuration.
    pub stores: KeyStores,
    /// The sigv4 component.
    pub authenticator: Arc<Authenticator>,
    /// The proxy component.
    pub proxy: Proxy,
    /// Where records go.
    pub audit: AuditLog,
    /// Failures before authentication.
    pub tally: Tally,
    /// Of requests.
    pub counters: Counters,
    /// The open connections.
    pub connections: Arc<Connections>,
    /// TLS handshakes that failed.
    pub handshakes: Handshakes,
    /// Requests whose body is still to come.
    pub waiting: WaitingRoom,
    /// Of a body, in bytes.
    pub body_limit: usize,
    /// From a whole head to the answer.
    pub budget: Duration,
}

/// The other end of a connection.
pub struct Peer {
    /// Address and port.
    pub address: String,
    /// The subject of its certificate, with mutual TLS.
    pub certificate: Option<Arc<str>>,
    /// Of the connection. A stop waits for the slots, and so for requests whose client is gone.
    pub slot: Arc<Slot>,
}

/// What an operator has to know of a request that isn't authentic: a wrong clock and a balancer that changes Host look so.
struct Said {
    host: Option<HeaderValue>,
    date: Option<HeaderValue>,
}

impl Said {
    fn of(headers: &HeaderMap) -> Said {
        Said { host: headers.get(HOST).cloned(), date: headers.get("x-amz-date").cloned() }
    }
}

/// Headers of a request: KMS sends some ten, and what every one of them costs is spent before anybody is known.
const MOST_HEADERS: usize = 64;

/// Requests of one connection. A stream that its client resets is free for HTTP/2 at once, while its task goes on; so they
/// are counted here too.
const MOST_IN_SERVICE: usize = 2 * STREAMS as usize;

impl Exchange {
    /// Answers one request.
    pub fn answer(self: Arc<Self>, request: hyper::Request<Incoming>, peer: Arc<Peer>) -> Answering {
        let activity = peer.slot.activity.clone();
        let busy = activity.begin();
        let too_many = activity.in_service() > MOST_IN_SERVICE;
        let work = async move {
            let _busy = busy;
            if too_many {
                return Answer::refusal(&Refusal::new(
                    ErrorName::Throttling,
                    "too many requests at once on one connection; try again",
                ));
            }
            let start = Instant::now();
            let answer = self.route(request, &peer, start).await;
            self.counters.answered(answer.status, answer.error, start.elapsed());
            answer
        };
        Answering::new(work, activity)
    }

    async fn route(&self, request: hyper::Request<Incoming>, peer: &Peer, start: Instant) -> Answer {
        let (mut parts, body) = request.into_parts();
        let body = ReceivedBody::new(body, parts.version, self.body_limit);
        if let Some(answer) = ping::answer(&self.stores, &self.audit, &parts.method, parts.uri.path()) {
            return answer;
        }
        if parts.headers.len() > MOST_HEADERS {
            let refusal = Refusal::with(
                ErrorName::Validation,
                format!("the request has more than {MOST_HEADERS} headers"),
            );
            return Answer { status: 431, ..Answer::refusal(&refusal) };
        }
        if let Err(refusal) = well_framed(&mut parts) {
            if parts.version == Version::HTTP_11 {
                // Another reader may see the next request begin elsewhere.
                peer.slot.activity.closes_after_the_next();
            }
            return Answer::refusal(&refusal);
        }
        // `path_and_query`, so that a query is seen and refused.
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
        let target = match Target::parse(&path) {
            Ok(target) => target,
            Err(fault) => return unknown(fault),
        };
        let Some(store) = self.stores.at(target.prefix) else {
            return Answer::refusal(&refusals::no_such_key_store());
        };
        let method = parts.method.as_str().to_owned();
        let tail = target.tail.to_owned();
        let said = Said::of(&parts.headers);
        let head =
            Head { method: parts.method, path, headers: parts.headers, tls_peer: peer.certificate.clone() };
        let deadline = start + self.budget;
        let mut trace = Trace::new(unix_time(), deadline.into_std());
        let received = self.receive(head, body, store, peer, &mut trace);
        let Ok(request) = tokio::time::timeout_at(deadline, received).await else {
            return Answer::refusal(&Refusal::new(
                ErrorName::DependencyTimeout,
                "the request's body took longer than this proxy's budget",
            ));
        };
        if let Err(refusal) = request.refuse_early(&mut trace) {
            return self.finish(Answer::refusal(&refusal), trace, store, peer, (start, said)).await;
        }
        let (answer, trace) = self.proxy.answer(&method, &tail, request, trace, deadline).await;
        self.finish(answer, trace, store, peer, (start, said)).await
    }

    /// Checks the head and waits for the body, both before a proxy instance is taken.
    async fn receive(
        &self,
        head: Head,
        body: ReceivedBody,
        store: &Arc<KeyStore>,
        peer: &Peer,
        trace: &mut Trace,
    ) -> Request {
        match Request::open(head, store.clone(), &self.authenticator, trace.known.time).await {
            Ok(expecting) => {
                let body = self.waiting.body(&peer.slot.activity, body.whole()).await;
                expecting.complete(body, trace)
            }
            Err(refused) => refused,
        }
    }

    /// Records the request; without a record there is no answer but a refusal.
    async fn finish(
        &self,
        answer: Answer,
        trace: Trace,
        store: &KeyStore,
        peer: &Peer,
        (start, said): (Instant, Said),
    ) -> Answer {
        if trace.known.access_key_id.is_none() {
            if let Some(fault) = trace.known.authentication_fault {
                let [host, date] =
                    [&said.host, &said.date].map(|it| it.as_ref().map_or(&b""[..], HeaderValue::as_bytes));
                self.tally.count(&store.name, fault, SystemTime::now(), host, date);
            }
            return answer;
        }
        peer.slot.activity.is_known_now();
        if trace.known.throttled {
            let id = trace.known.metadata.as_ref().map_or("", |metadata| metadata.kms_request_id.as_str());
            let credential = trace.known.access_key_id.as_deref().unwrap_or_default();
            self.tally.throttled(&store.name, credential, id, SystemTime::now());
            return answer;
        }
        let took = start.elapsed();
        let record = audit::record(
            &trace,
            &Finished {
                key_store: &store.name,
                status: answer.status,
                error: answer.error,
                received: SystemTime::now() - took,
                took,
                tls_peer: peer.certificate.as_deref(),
                client: &peer.address,
                proxy: self.proxy.digest(),
                sigv4: self.authenticator.digest(),
            },
        );
        // An answer that is late already still waits as long again for its record: the operation was done.
        let until = Instant::now().max(start + self.budget) + AUDIT_GRACE;
        match tokio::time::timeout_at(until, self.audit.write(record)).await {
            Ok(Ok(())) => answer,
            Ok(Err(_)) => {
                self.counters.unrecorded();
                Answer::refusal(&Refusal::new(
                    ErrorName::Internal,
                    "the audit log can't be written, so requests are refused; see the proxy's log",
                ))
            }
            Err(_) => {
                self.counters.unrecorded();
                Answer::refusal(&Refusal::new(
                    ErrorName::DependencyTimeout,
                    "the audit log didn't take the record in time, so the request is refused; see the proxy's log",
                ))
            }
        }
    }
}

/// Beyond the budget, for the record of a request that used all of it.
const AUDIT_GRACE: Duration = Duration::from_millis(25);

/// Refuses what different readers could frame or route differently, and makes `host` what was asked for.
fn well_framed(parts: &mut http::request::Parts) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::new(ErrorName::Validation, message));
    match parts.version {
        Version::HTTP_11 => {
            if parts.uri.authority().is_some() || parts.uri.scheme().is_some() {
                return Err(refusal(TargetFault::Form));
            }
            // hyper reads the body by the last coding, takes a Content-Length beside it away, and closes the connection
            // after the answer (RFC 9112, section 6.1).
            let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
            if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
                || codings.next().is_some()
            {
                return invalid("the only Transfer-Encoding that is taken is chunked, once");
            }
        }
        Version::HTTP_2 => {
            let Some(authority) = parts.uri.authority() else { return invalid(":authority is missing") };
            let authority = HeaderValue::from_str(authority.as_str());
            let Ok(authority) = authority else { return invalid(":authority can't be read") };
            if parts.headers.get_all(HOST).iter().any(|host| host != authority) {
                return invalid("Host differs from :authority");
            }
            parts.headers.insert(HOST, authority);
        }
        _ => return invalid("use HTTP/1.1 or HTTP/2"),
    }
    if parts.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return invalid("Content-Length stands more than once");
    }
    Ok(())
}

fn unknown(fault: TargetFault) -> Answer {
    Answer::refusal(&refusal(fault))
}

fn refusal(fault: TargetFault) -> Refusal {
    Refusal::with(ErrorName::InvalidUriPath, fault.to_string())
}
