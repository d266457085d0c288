//! A host that must come through every case unharmed.

use std::time::{Duration, Instant};

use holdfast_tests::{HandMade, Host, Operation, Raw, Reply, Setup, encrypt_body};
use serde_json::Value;

/// What no log may hold.
pub const PLAINTEXT: &str = "a plaintext that no log may hold";
pub const VALIDATION: Expect = Expect::Refused(400, "ValidationException");
pub const UNAUTHENTICATED: Expect = Expect::Refused(401, "AuthenticationFailedException");
pub const NO_SUCH_PATH: Expect = Expect::Refused(404, "InvalidUriPathException");
pub const TOO_LONG: Expect = Expect::Refused(501, "UnsupportedOperationException");

/// Far above the budget, on a machine that is busy with other tests.
const PROMPTLY: Duration = Duration::from_secs(20);

/// What is to come back.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// 200.
    Works,
    /// An error with its errorName.
    Refused(u16, &'static str),
    /// The connection ends without an answer.
    Closed,
}

impl Expect {
    #[track_caller]
    fn check(self, case: &str, reply: Option<Reply>) {
        println!("{case}: {:?}", reply.as_ref().map(|reply| (reply.status, reply.text())));
        match (self, reply) {
            (Expect::Works, Some(reply)) => assert_eq!(reply.status, 200, "{case}: {}", reply.text()),
            (Expect::Refused(status, name), Some(reply)) => reply.refused(status, name),
            (Expect::Closed, None) => {}
            (expected, reply) => panic!("{case}: expected {expected:?}, got {reply:?}"),
        }
    }
}

pub struct Watched {
    pub host: Host,
    pid: u32,
    signatures: Vec<String>,
}

impl Watched {
    /// What waits for nothing gets all the time that it needs, on a machine that is busy with other tests.
    pub fn patient() -> Watched {
        Watched::start(Setup::new().limit("budget", "2s"))
    }

    /// Logs at the level `debug`, so that a leak has every chance to show.
    pub fn start(setup: Setup) -> Watched {
        let host = setup.environment("RUST_LOG", "debug").start();
        let pid = host.pid();
        Watched { host, pid, signatures: Vec::new() }
    }

    /// A proper encrypt request.
    pub fn encrypt(&self) -> HandMade {
        HandMade::new(&self.host, "/keys/demo/encrypt", encrypt_body(PLAINTEXT)).sign()
    }

    /// The same with another body.
    pub fn with_body(&self, body: impl Into<Vec<u8>>) -> HandMade {
        let request = self.encrypt();
        HandMade { body: body.into(), ..request }.sign()
    }

    /// Sends the bytes on a connection of their own; each of `expected` must come back in order.
    #[track_caller]
    pub fn case(&mut self, case: &str, bytes: &[u8], expected: &[Expect]) {
        let mut raw = self.sent(bytes);
        self.answers(case, &mut raw, expected);
    }

    /// The same, and then the client says that it has no more to say.
    #[track_caller]
    pub fn ended_case(&mut self, case: &str, bytes: &[u8], expected: &[Expect]) {
        let mut raw = self.sent(bytes);
        raw.end_writing();
        self.answers(case, &mut raw, expected);
    }

    /// The same, and nothing after these answers: the host closes the connection.
    #[track_caller]
    pub fn last_case(&mut self, case: &str, bytes: &[u8], expected: &[Expect]) {
        let mut raw = self.sent(bytes);
        let all: Vec<Expect> = expected.iter().copied().chain([Expect::Closed]).collect();
        self.answers(case, &mut raw, &all);
    }

    fn sent(&mut self, bytes: &[u8]) -> Raw {
        let text = String::from_utf8_lossy(bytes);
        let signatures = text.split("Signature=").skip(1).filter_map(|rest| rest.get(..64));
        self.signatures.extend(signatures.map(str::to_owned));
        let mut raw = self.host.raw();
        // A host that has refused already may have closed before it got all.
        let _ = raw.try_write(bytes);
        raw
    }

    #[track_caller]
    fn answers(&mut self, case: &str, raw: &mut Raw, expected: &[Expect]) {
        let start = Instant::now();
        for expect in expected {
            expect.check(case, raw.next_reply());
        }
        assert!(start.elapsed() < PROMPTLY, "{case}: took {:?}", start.elapsed());
        self.host.client().call(Operation::Encrypt, "demo", encrypt_body("afterwards")).ok();
    }

    /// The same process serves, and neither log nor audit records hold what they must not.
    #[track_caller]
    pub fn is_unharmed(&mut self) {
        self.host.assert_running();
        assert_eq!(self.host.pid(), self.pid);
        let records = self.host.audit_records();
        assert!(!records.is_empty());
        self.holds_no_secret("the log", &self.host.log());
        self.holds_no_secret("the audit log", &self.host.audit_text());
        assert!(!self.host.log().contains("panicked"), "{}", self.host.log());
        assert_eq!(self.host.metric(&["holdfast_component_failures_total"]), 0, "no component failed");
    }

    #[track_caller]
    fn holds_no_secret(&self, what: &str, text: &str) {
        let secret = &self.host.credential().secret;
        let encoded = holdfast_tests::base64(PLAINTEXT);
        for forbidden in [secret.as_str(), PLAINTEXT, &encoded, "Signature="].into_iter() {
            assert!(!text.contains(forbidden), "{what} holds {forbidden:?}");
        }
        for signature in &self.signatures {
            assert!(!text.contains(signature.as_str()), "{what} holds a signature");
        }
    }

    /// The newest audit record.
    #[track_caller]
    pub fn last_record(&self) -> Value {
        self.host.audit_records().pop().expect("a record")
    }
}

/// `bytes` with the first `from` made `to`.
#[track_caller]
pub fn replaced(bytes: &[u8], from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Vec<u8> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let at = bytes.windows(from.len()).position(|window| window == from);
    let at = at.unwrap_or_else(|| panic!("no {:?} in the request", String::from_utf8_lossy(from)));
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
