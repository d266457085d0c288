//! What is expected of a host whose component misbehaves.

use holdfast_tests::{HandMade, Host, Raw, Reply, encrypt_body, wait_for};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a host under suspicion has for a request: what fails by another limit than time fails long before, on a busy
/// machine too.
#[allow(dead_code, reason = "each test file uses its part")]
pub const BUDGET: &str = "1s";
/// By then the budget has ended whatever a component does, however busy the machine is.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A component of a host, and how often it has failed.
pub struct Suspect<'a> {
    host: &'a Host,
    component: &'static str,
    digest: String,
}

impl<'a> Suspect<'a> {
    /// `component` as metrics call it; its file, for the digest.
    pub fn new(host: &'a Host, component: &'static str, file: &Path) -> Suspect<'a> {
        let digest = Sha256::digest(std::fs::read(file).unwrap());
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Suspect { host, component, digest }
    }

    /// Failures of one kind.
    pub fn failures(&self, kind: &str) -> u64 {
        let component = format!("component=\"{}\"", self.component);
        let kind = format!("kind=\"{kind}\"");
        self.host.metric(&["holdfast_component_failures_total", &component, &self.digest, &kind])
    }

    /// All failures.
    pub fn all_failures(&self) -> u64 {
        let component = format!("component=\"{}\"", self.component);
        self.host.metric(&["holdfast_component_failures_total", &component, &self.digest])
    }

    /// Asks once, and expects: 500 InternalException before the deadline, counted as one failure of this kind and as
    /// nothing else, and an honest request that succeeds after.
    #[track_caller]
    pub fn fails_closed(&self, name: &str, kind: &str, request: impl AsRef<[u8]>) -> Reply {
        let (of_kind, all) = (self.failures(kind), self.all_failures());
        let (reply, took) = timed(self.host, request);
        let counts = self.host.metrics();
        let counts: Vec<&str> =
            counts.lines().filter(|line| line.contains("failures_total{") && !line.ends_with(" 0")).collect();
        assert_eq!(reply.status, 500, "{name}: {}", reply.text());
        reply.refused(500, "InternalException");
        assert_eq!(self.failures(kind), of_kind + 1, "{name} isn't counted as {kind}: {counts:#?}");
        assert_eq!(self.all_failures(), all + 1, "{name} is counted as something else too: {counts:#?}");
        assert!(took < DEADLINE, "{name} took {took:?}");
        eprintln!("{name}: {kind}, {took:?}");
        let (reply, took) = timed(self.host, honest(self.host));
        assert_eq!(reply.status, 200, "an honest request after {name}: {}", reply.text());
        assert!(took < DEADLINE, "an honest request after {name} took {took:?}");
        reply
    }
}

/// A signed request to encrypt by the key `demo`, which nothing is wrong with.
pub fn honest(host: &Host) -> Vec<u8> {
    HandMade::new(host, "/keys/demo/encrypt", encrypt_body("an honest plaintext")).sign().bytes()
}

/// The answer over a new connection, and the time from the request's last byte to the whole answer.
#[track_caller]
pub fn timed(host: &Host, request: impl AsRef<[u8]>) -> (Reply, Duration) {
    let mut connection = Raw::open(host);
    let start = Instant::now();
    let reply = connection.exchange(request);
    (reply, start.elapsed())
}

/// Sends `requests` honest requests one after the other while `hostile` threads send theirs without a pause; all must
/// succeed, within their budget and by the same process. How quickly is what the bench tells.
pub fn honest_beside(
    host: &Host,
    hostile: usize,
    request: &(dyn Fn() -> Vec<u8> + Sync),
    honest: &(dyn Fn() -> Vec<u8> + Sync),
    requests: usize,
) {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let (over, under_way) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut times = std::thread::scope(|scope| {
        for _ in 0..hostile {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    under_way.fetch_add(1, Ordering::SeqCst);
                    let (reply, _) = timed(host, request());
                    assert!(reply.status >= 500, "{}", reply.text());
                }
            });
        }
        wait_for("the hostile requests", || (under_way.load(Ordering::SeqCst) >= hostile).then_some(()));
        let honest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut times = Vec::new();
            for _ in 0..requests {
                let (reply, took) = timed(host, honest());
                assert_eq!(reply.status, 200, "{}", reply.text());
                times.push(took);
            }
            times
        }));
        over.store(true, Ordering::SeqCst);
        honest.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    times.sort();
    eprintln!(
        "{requests} honest requests beside {hostile} hostile ones: median {:?}, p90 {:?}, slowest {:?}",
        times[times.len() / 2],
        times[times.len() * 9 / 10],
        times[times.len() - 1]
    );
}
