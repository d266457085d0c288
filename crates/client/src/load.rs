//! A load generator of signed requests.
//!
//! It shares the machine with the server that it measures, so it spends little: requests are put together from parts
//! rendered beforehand, and one thread drives many connections.

mod error;
mod plan;
mod process;
mod random;
mod report;
mod schedule;
mod signature;
mod tally;
mod template;
mod wire;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use self::error::LoadError;
pub use self::plan::{Mix, Pace, Plan, PlanError};
pub use self::process::ProcessError;
use self::process::Sample;
pub use self::report::{GeneratorCost, Kind, Latency, OutcomeCount, PlanSummary, Report, ServerCost};
use self::tally::{Outcome, Tally};
use self::template::{Slot, Templates};
use self::worker::Shared;
use crate::client::{CallError, Client, new_request_id};
use crate::connection::Protocol;
use crate::message::{Encrypt, RequestMetadata};
use crate::sign::Signer;
use crate::tls::server_name;

/// Plaintexts that are encrypted beforehand.
const SLOTS: usize = 64;
/// Principals that are sent beforehand, at most.
const WARM_PRINCIPALS: usize = 1_024;

/// How far a run is, told once a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Requests ended.
    pub done: u64,
    /// Requests ended in the last second.
    pub rate: f64,
    /// Requests that didn't end as they should.
    pub failed: u64,
}

/// Carries out a plan on threads of its own, and blocks until it is through.
pub fn run(plan: Plan, mut progress: impl FnMut(Progress)) -> Result<Report, LoadError> {
    plan.check()?;
    let tls = match plan.endpoint.tls() {
        true => Some((plan.trust.config(&plan.endpoint, &[b"http/1.1"])?, server_name(&plan.endpoint)?)),
        false => None,
    };
    let (aad, slots) = prepare(&plan)?;
    let shared = Arc::new(Shared {
        plan,
        tls,
        taken: Arc::default(),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });

    let (ready_sender, ready) = channel();
    let (tally_sender, tallies) = channel();
    let mut starts = Vec::new();
    for index in 0..shared.plan.threads {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let templates = Templates::new(&shared.plan, aad.clone(), slots.clone(), now);
        let (start_sender, start) = channel();
        starts.push(start_sender);
        spawn(index, &shared, templates, (ready_sender.clone(), start, tally_sender.clone()))?;
    }
    drop((ready_sender, tally_sender));
    for _ in 0..shared.plan.threads {
        ready.recv().map_err(|_| LoadError::Thread("it ended before the start".to_owned()))??;
    }

    let pid = shared.plan.pid;
    let before = pid.map(Sample::take).transpose()?;
    let start = Instant::now();
    for sender in &starts {
        sender.send(start).map_err(|_| LoadError::Thread("it ended before the start".to_owned()))?;
    }
    let tally = gather(&shared, start, &tallies, &mut progress)?;
    let elapsed = start.elapsed();
    let after = pid.map(Sample::take).transpose()?;
    let server = match (pid, before, after) {
        (Some(pid), Some(before), Some(after)) => Some((pid, before, after)),
        _ => None,
    };
    Ok(sum_up(&shared.plan, &tally, elapsed, server))
}

type ThreadEnds = (Sender<Result<(), LoadError>>, Receiver<Instant>, Sender<Result<Tally, LoadError>>);

fn spawn(
    index: usize,
    shared: &Arc<Shared>,
    templates: Templates,
    (ready, start, tally): ThreadEnds,
) -> Result<(), LoadError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name(format!("load-{index}")).spawn(move || {
        let result = worker::run(&shared, index, templates, &ready, &start);
        // Nobody listens any more when the run was given up.
        let _ = tally.send(result);
    })?;
    Ok(())
}

/// Adds up the threads' tallies as they come, and tells the progress meanwhile.
fn gather(
    shared: &Shared,
    start: Instant,
    tallies: &mpsc::Receiver<Result<Tally, LoadError>>,
    progress: &mut impl FnMut(Progress),
) -> Result<Tally, LoadError> {
    let mut sum = Tally::new();
    let mut left = shared.plan.threads;
    let (mut told_done, mut told_at) = (0, start);
    while left > 0 {
        match tallies.recv_timeout(Duration::from_secs(1)) {
            Ok(tally) => {
                sum.add(tally?);
                left -= 1;
            }
            Err(RecvTimeoutError::Timeout) => {
                let (now, done) = (Instant::now(), shared.done.load(Ordering::Relaxed));
                progress(Progress {
                    elapsed: now - start,
                    done,
                    rate: (done - told_done) as f64 / (now - told_at).as_secs_f64(),
                    failed: shared.failed.load(Ordering::Relaxed),
                });
                (told_done, told_at) = (done, now);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(LoadError::Thread("it ended without a result".to_owned()));
            }
        }
    }
    Ok(sum)
}

/// Encrypts the plaintexts that will be decrypted, each principal once, so that caches on both sides are warm.
fn prepare(plan: &Plan) -> Result<(Vec<u8>, Vec<Slot>), LoadError> {
    let mut aad = vec![0; plan.aad_bytes];
    getrandom::fill(&mut aad)?;
    let mut plaintexts = vec![vec![0; plan.payload_bytes]; SLOTS];
    for plaintext in &mut plaintexts {
        getrandom::fill(plaintext)?;
    }
    let mut slots: Vec<Slot> =
        plaintexts.iter().map(|plaintext| Slot::new(plaintext, &aad, plan.cdiv)).collect();
    if plan.has_signed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(warm_up(plan, &aad, &plaintexts, &mut slots)).map_err(LoadError::WarmUp)?;
    }
    Ok((aad, slots))
}

async fn warm_up(
    plan: &Plan,
    aad: &[u8],
    plaintexts: &[Vec<u8>],
    slots: &mut [Slot],
) -> Result<(), CallError> {
    let signer = Signer::new(&plan.credential, &plan.region)?;
    let mut client = Client::new(plan.endpoint.clone(), plan.trust.clone(), Protocol::Http1, signer);
    let metadata = |n: usize, operation: &str| -> Result<RequestMetadata, CallError> {
        Ok(RequestMetadata {
            aws_principal_arn: Some(template::principal(plan, n)),
            kms_key_arn: Some(template::key_arn(plan)),
            kms_operation: operation.to_owned(),
            kms_request_id: new_request_id()?,
            kms_via_service: plan.via_service.clone(),
            ..Default::default()
        })
    };
    if plan.mix.health > 0 {
        client.health(metadata(0, "KmsHealthCheck")?).await?;
    }
    if plan.mix.metadata > 0 {
        client.metadata(&plan.key, metadata(0, "CreateKey")?).await?;
    }
    if plan.mix.encrypt > 0 || plan.mix.decrypt > 0 {
        let aad_sent = (!aad.is_empty()).then(|| aad.to_vec());
        for n in 0..plan.principals.clamp(SLOTS, WARM_PRINCIPALS) {
            let metadata = metadata(n % plan.principals, "Encrypt")?;
            let Some(plaintext) = plaintexts.get(n % SLOTS) else { break };
            let request = Encrypt::new(metadata, plaintext.clone(), aad_sent.clone(), plan.cdiv);
            let encrypted = match client.encrypt(&plan.key, &request).await {
                // Refusals may be what is measured; only decryptions need a ciphertext.
                Err(CallError::Server(_)) if plan.mix.decrypt == 0 => break,
                encrypted => encrypted?,
            };
            if let Some(slot) = slots.get_mut(n % SLOTS) {
                *slot = slot.clone().with(&encrypted.sealed, aad);
            }
        }
    }
    Ok(())
}

fn sum_up(plan: &Plan, tally: &Tally, elapsed: Duration, server: Option<(u32, Sample, Sample)>) -> Report {
    let requests = tally.requests();
    let per_request = |time: Duration| match requests {
        0 => 0.0,
        _ => time.as_secs_f64() * 1e6 / requests as f64,
    };
    let mut wrong = 0;
    let outcomes = tally.outcomes.iter().map(|((kind, outcome), count)| {
        let (status, error_name, unanswered) = match outcome {
            Outcome::Right => (Some(200), None, None),
            Outcome::Wrong => {
                wrong += count;
                (Some(200), Some("(wrong)".to_owned()), None)
            }
            Outcome::Refused(status, name) => (Some(*status), Some(name.clone()), None),
            Outcome::Unanswered(why) => (None, None, Some(why.clone())),
        };
        OutcomeCount { kind: *kind, status, error_name, unanswered, count: *count }
    });
    let outcomes = outcomes.collect();
    let server = server.map(|(pid, before, after)| {
        let user = process::ticks(after.user_ticks.saturating_sub(before.user_ticks));
        let system = process::ticks(after.system_ticks.saturating_sub(before.system_ticks));
        ServerCost {
            pid,
            cpu_seconds: (user + system).as_secs_f64(),
            cpu_us_per_request: per_request(user + system),
            user_us_per_request: per_request(user),
            system_us_per_request: per_request(system),
            resident_kib_before: before.resident_kib,
            resident_kib_after: after.resident_kib,
        }
    });
    let scheme = if plan.endpoint.tls() { "https" } else { "http" };
    Report {
        plan: PlanSummary {
            url: format!("{scheme}://{}{}", plan.endpoint.authority(), plan.endpoint.uri_path()),
            connections: plan.connections,
            threads: plan.threads,
            pace: plan.pace,
            mix: plan.mix,
            payload_bytes: plan.payload_bytes,
            aad_bytes: plan.aad_bytes,
            cdiv: plan.cdiv,
            principals: plan.principals,
            forged: plan.forged,
            unsigned: plan.unsigned,
        },
        elapsed_seconds: elapsed.as_secs_f64(),
        requests,
        requests_per_second: requests as f64 / elapsed.as_secs_f64(),
        unsent: tally.unsent,
        reconnects: tally.connections_opened,
        outcomes,
        wrong,
        wrong_examples: tally.wrong.clone(),
        latency: tally.latencies().collect(),
        generator: GeneratorCost {
            cpu_seconds: tally.cpu.as_secs_f64(),
            cpu_us_per_request: per_request(tally.cpu),
        },
        server,
    }
}
