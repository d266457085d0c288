//! The logic as a component: exports of `holdfast:gate` carried out by its neighbours.

mod bindings;
mod convert;

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::facts::Facts;
use holdfast_gate::query::{Decision, Query};
use holdfast_gate::rules::{Rules, check_description};
use holdfast_gate::sigv4::{AuthenticationFault, Claim};
use holdfast_keystore::{Random, RandomError};
use zeroize::Zeroizing;

use crate::answers;
use crate::home::Head;
use crate::outside::{Clock, Outside, Undecided};
use crate::store::Home;
use crate::{BodyFault, Document, Settings};

use bindings::exports::holdfast::gate::{intake, types};
use bindings::holdfast::authn::sigv4;
use bindings::holdfast::policy::policy;
use bindings::wasi::clocks::system_clock;
use bindings::wasi::random::random;

struct Component;

thread_local! {
    /// All that requests share. Replaced as a whole; requests under way keep what they began with.
    static HOME: RefCell<Option<Rc<Home>>> = const { RefCell::new(None) };
    /// What the policy reads, and the rules that it has.
    static POLICY: RefCell<Option<(Facts, Rules)>> = const { RefCell::new(None) };
}

struct Neighbours;

impl Random for Neighbours {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        let mut done = 0;
        while done < out.len() {
            // A source may give less than it was asked for, but always something.
            let bytes = Zeroizing::new(random::get_random_bytes((out.len() - done) as u64));
            let length = bytes.len().min(out.len() - done);
            if length == 0 {
                return Err(RandomError { reason: "wasi:random gave nothing".into() });
            }
            out[done..done + length].copy_from_slice(&bytes[..length]);
            done += length;
        }
        Ok(())
    }
}

impl Outside for Neighbours {
    fn claim(&mut self, head: &[u8]) -> Result<Claim, AuthenticationFault> {
        match sigv4::read_claim(head) {
            Ok(claim) => Ok(Claim {
                access_key_id: claim.access_key_id,
                date: claim.date,
                region: claim.region,
                service: claim.service,
                signed_headers: claim.signed_headers,
                signature: claim.signature,
            }),
            Err(sigv4::Refusal::Repeated) => Err(AuthenticationFault::HeaderCount),
            Err(sigv4::Refusal::Missing | sigv4::Refusal::Scheme | sigv4::Refusal::Malformed) => {
                Err(AuthenticationFault::Claim)
            }
        }
    }

    fn decide(&mut self, query: &Query) -> Result<Decision, Undecided> {
        POLICY.with_borrow(|policy| {
            let (reads, rules) = policy.as_ref().ok_or(Undecided)?;
            let decision = policy::evaluate(&convert::query(reads.of(query)));
            let effect = convert::effect(decision.effect);
            rules.decision(effect, decision.rules, decision.errors).map_err(|_| Undecided)
        })
    }

    fn now(&mut self) -> Clock {
        let now = system_clock::now();
        Clock { seconds: u64::try_from(now.seconds).unwrap_or(0), nanoseconds: now.nanoseconds }
    }
}

fn salt() -> Result<[u64; 2], String> {
    let mut bytes = [0; 16];
    Neighbours.fill(&mut bytes).map_err(|error| error.reason)?;
    let (first, second) = bytes.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok([number(first), number(second)])
}

/// What there is to know of the policy, once it has its document.
fn described(document: Option<Document>) -> Result<(Facts, Rules), String> {
    if let Some(document) = document {
        let source = |(name, text)| policy::Source { name, text };
        let document: Vec<policy::Source> = document.into_iter().map(source).collect();
        policy::configure(&document).map_err(|problems| {
            let first = problems.into_iter().next().map_or_else(
                || "it has its document inside already; leave the variable empty".to_owned(),
                |problem| format!("{}:{}: {}", problem.source, problem.line, problem.message),
            );
            format!("the policy refuses holdfast_policy_document: {first}")
        })?;
    }
    let policy::Description { engine, reads, rules, messages } = policy::describe();
    check_description(&engine, &rules, &messages).map_err(|what| {
        format!("the policy describes itself wrongly: {what}; holdfast spin-env makes one with its document inside")
    })?;
    Ok((Facts::from_bits(reads.bits()), Rules::new(rules, messages)))
}

impl intake::Guest for Component {
    type Expecting = crate::Expecting;
    type Exchange = crate::Exchange;

    fn configure(settings: intake::Settings) -> Result<(), String> {
        let settings = Settings {
            keystore: settings.keystore,
            seal_key: Zeroizing::new(settings.seal_key),
            key_stores: settings.key_stores,
            policy_document: settings.policy_document,
        };
        let home = settings.read(salt()?).map_err(|error| error.to_string())?;
        let document = settings.document().map_err(|error| error.to_string())?;
        POLICY.replace(Some(described(document)?));
        HOME.replace(Some(Rc::new(home)));
        Ok(())
    }

    fn open(head: intake::Head) -> Result<intake::Opened, intake::Answer> {
        let Some(home) = HOME.with(|cell| cell.borrow().clone()) else {
            return Err(convert::answer(answers::unconfigured()));
        };
        let intake::Head { method, path, authority, headers } = head;
        let head = Head { method, path, authority, headers };
        let expecting = home.open(head, &mut Neighbours).map_err(convert::answer)?;
        let body_limit = u32::try_from(answers::BODY_LIMIT).unwrap_or(u32::MAX);
        Ok(intake::Opened { expecting: intake::Expecting::new(expecting), body_limit })
    }
}

impl intake::GuestExpecting for crate::Expecting {
    fn complete(
        expecting: intake::Expecting,
        body: Result<Vec<u8>, intake::BodyFault>,
    ) -> Result<intake::Received, intake::Answer> {
        let body = body.map_err(|fault| match fault {
            intake::BodyFault::TooLong => BodyFault::TooLong,
            intake::BodyFault::Broken => BodyFault::Broken,
        });
        let received = expecting.into_inner::<crate::Expecting>().complete(body).map_err(convert::answer)?;
        Ok(intake::Received {
            exchange: intake::Exchange::new(received.exchange),
            request: types::Request::new(received.request),
            path: received.path,
        })
    }
}

impl intake::GuestExchange for crate::Exchange {
    fn close(exchange: intake::Exchange, answer: intake::Answer) -> intake::Closed {
        let exchange = exchange.into_inner::<crate::Exchange>();
        let closed = exchange.close(answer.status, answer.body, &mut Neighbours);
        intake::Closed { answer: convert::answer((closed.status, closed.body)), record: closed.record }
    }
}

impl types::Guest for Component {
    type Request = crate::Request;
    type Admission = crate::Admission;
    type Grant = crate::Grant;
}

impl types::GuestRequest for crate::Request {
    fn admit(request: types::Request) -> Result<types::Admitted, types::Refusal> {
        let (admission, body) = request.into_inner::<crate::Request>().admit().map_err(convert::refusal)?;
        Ok(types::Admitted { admission: types::Admission::new(admission), body })
    }
}

impl types::GuestAdmission for crate::Admission {
    fn authorize(
        admission: types::Admission,
        operation: types::Operation,
        key_id: String,
    ) -> Result<types::Grant, types::Refusal> {
        let admission = admission.into_inner::<crate::Admission>();
        let grant = admission.authorize(convert::operation(operation), &key_id, &mut Neighbours);
        grant.map(types::Grant::new).map_err(convert::refusal)
    }

    fn health(admission: types::Admission) -> Result<types::Health, types::Refusal> {
        let health = admission.into_inner::<crate::Admission>().health(&mut Neighbours);
        health.map(convert::health).map_err(convert::refusal)
    }
}

impl types::GuestGrant for crate::Grant {
    fn get_key_metadata(grant: types::Grant) -> Result<types::KeyMetadata, types::Refusal> {
        let metadata = grant.into_inner::<crate::Grant>().key_metadata().map_err(convert::refusal)?;
        Ok(types::KeyMetadata {
            key_spec: metadata.key_spec,
            key_usage: metadata.key_usage,
            enabled: metadata.enabled,
        })
    }

    fn encrypt(grant: types::Grant, input: types::EncryptInput) -> Result<types::Encrypted, types::Refusal> {
        let claimed =
            EncryptInputs { plaintext: input.plaintext.into(), aad: input.aad, with_cdiv: input.with_cdiv };
        let encrypted = grant.into_inner::<crate::Grant>().encrypt(&claimed, &mut Neighbours);
        let encrypted = encrypted.map_err(convert::refusal)?;
        Ok(types::Encrypted {
            ciphertext: encrypted.ciphertext,
            iv: encrypted.iv,
            tag: encrypted.tag,
            metadata: encrypted.metadata,
            cdiv: encrypted.cdiv.map(Vec::from),
        })
    }

    fn decrypt(grant: types::Grant, input: types::DecryptInput) -> Result<Vec<u8>, types::Refusal> {
        let claimed = DecryptInputs {
            ciphertext: input.ciphertext,
            iv: input.iv,
            tag: input.tag,
            aad: input.aad,
            metadata: input.metadata,
        };
        let plaintext = grant.into_inner::<crate::Grant>().decrypt(&claimed).map_err(convert::refusal)?;
        Ok(plaintext.to_vec())
    }
}

bindings::export!(Component with_types_in bindings);
