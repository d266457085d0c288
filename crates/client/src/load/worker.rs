//! One thread of the generator: a task for each of its connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::runtime::{Builder, LocalOptions};

use super::LoadError;
use super::plan::{Pace, Plan};
use super::process::thread_cpu;
use super::random::Random;
use super::report::Kind;
use super::schedule::Schedule;
use super::tally::{Outcome, TIMEOUT, Tally};
use super::template::{Signing, Templates, error_name};
use super::wire::Wire;
use crate::connection::REQUEST_TIMEOUT;
use crate::message::Operation;

/// After a connection that couldn't be opened, so that a server that is gone isn't hammered.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Each how manieth encryption replaces an older one, for the decryptions to come.
const KEEP_EACH: u64 = 16;

/// What all threads share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Requests taken, in a closed loop.
    pub(super) taken: Arc<AtomicU64>,
    /// Requests ended, for the progress line.
    pub(super) done: AtomicU64,
    /// Of these, those that didn't end as they should.
    pub(super) failed: AtomicU64,
}

/// One thread's state, used by its tasks in turn.
struct Thread {
    shared: Arc<Shared>,
    schedule: Rc<Schedule>,
    templates: RefCell<Templates>,
    random: RefCell<Random>,
    tally: RefCell<Tally>,
    number: std::cell::Cell<u64>,
    stride: u64,
}

/// Opens the connections, says so, waits for the start, and runs until the schedule is through.
pub(super) fn run(
    shared: &Arc<Shared>,
    index: usize,
    templates: Templates,
    ready: &std::sync::mpsc::Sender<Result<(), LoadError>>,
    start: &std::sync::mpsc::Receiver<Instant>,
) -> Result<Tally, LoadError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let plan = &shared.plan;
    if plan.pace == Pace::Closed {
        interrupt_nobody();
    }
    let connections = (index..plan.connections).step_by(plan.threads).count();
    let wires = match runtime.block_on(open_all(shared, connections)) {
        Ok(wires) => wires,
        Err(error) => {
            // The receiver counts the threads; this one's failure ends the run.
            let _ = ready.send(Err(error));
            return Ok(Tally::new());
        }
    };
    let _ = ready.send(Ok(()));
    // No start: another thread failed.
    let Ok(start) = start.recv() else { return Ok(Tally::new()) };

    let before = thread_cpu();
    let limit = plan.count.unwrap_or(u64::MAX);
    let thread = runtime.block_on(async {
        let schedule = Schedule::new(
            plan.pace,
            (start, plan.duration, limit),
            (index, plan.threads),
            Arc::clone(&shared.taken),
        )?;
        let thread = Rc::new(Thread {
            shared: Arc::clone(shared),
            schedule,
            templates: RefCell::new(templates),
            random: RefCell::new(Random::new()?),
            tally: RefCell::new(Tally::new()),
            number: std::cell::Cell::new(index as u64),
            stride: plan.threads as u64,
        });
        tokio::task::spawn_local(keep_a_timer_near());
        let tasks: Vec<_> = wires
            .into_iter()
            .map(|wire| tokio::task::spawn_local(Rc::clone(&thread).drive(Some(wire))))
            .collect();
        for task in tasks {
            task.await.map_err(|error| LoadError::Thread(error.to_string()))??;
        }
        Ok::<_, LoadError>(thread)
    })?;
    let mut tally = thread.tally.replace(Tally::new());
    tally.unsent = thread.schedule.unsent();
    tally.cpu = thread_cpu().saturating_sub(before);
    Ok(tally)
}

/// This thread waits for its turn when an answer wakes it. A server on the same machine would be interrupted with each answer
/// that it gives, twice in one call of an HSM, and that would count as the server's time. It isn't for loads at a fixed rate,
/// which measure latency.
fn interrupt_nobody() {
    #[cfg(target_os = "linux")]
    {
        let no_priority = libc::sched_param { sched_priority: 0 };
        // SAFETY: `no_priority` lives as long as the call. 0 stands for the calling thread. Nobody needs a privilege for it; where
        // it is refused all the same, the server is interrupted.
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const no_priority) };
    }
}

/// Setting a timer that is due before all others costs tokio a system call to wake itself. With one always near, the
/// requests' timeouts never are that timer. Ends with the runtime.
async fn keep_a_timer_near() {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn open_all(shared: &Shared, count: usize) -> Result<Vec<Wire>, LoadError> {
    let mut wires = Vec::with_capacity(count);
    for _ in 0..count {
        let opening = Wire::open(&shared.plan.endpoint, shared.tls.as_ref());
        let opened = tokio::time::timeout(REQUEST_TIMEOUT, opening).await;
        wires.push(opened.map_err(|_| crate::TransportError::Timeout)??);
    }
    Ok(wires)
}

impl Thread {
    /// Sends requests over one connection, which is opened again when it was lost.
    async fn drive(self: Rc<Self>, mut wire: Option<Wire>) -> Result<(), LoadError> {
        let mut request = Vec::with_capacity(4_096);
        while let Some(mut turn) = self.schedule.turn().await {
            let number = self.number.get();
            self.number.set(number + self.stride);
            let (operation, signing) = self.choose();
            let sent = {
                let mut random = self.random.borrow_mut();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
                let mut templates = self.templates.borrow_mut();
                templates.compose(operation, signing, (number, now), &mut random, &mut request)
            };
            turn.wait().await?;
            let start = turn.due.unwrap_or_else(Instant::now);
            let exchange = self.exchange(&mut wire, &request);
            let answered = match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
                Ok(result) => result,
                Err(_) => Err(TIMEOUT.to_owned()),
            };
            let latency = start.elapsed();

            let kind = kind(operation, signing);
            let (outcome, close) = match (&answered, &wire) {
                (Ok(reply), Some(wire)) => {
                    let outcome = match (reply.status, kind.is_signed()) {
                        (200, true) => {
                            let keep = number.is_multiple_of(KEEP_EACH);
                            match self.templates.borrow_mut().judge(sent, wire.body(reply), keep) {
                                Ok(()) => Outcome::Right,
                                Err(why) => self.wrong(format!("{kind}: {why}")),
                            }
                        }
                        (200, false) => self.wrong(format!("a {kind} {operation} was let through")),
                        (status, _) => Outcome::Refused(status, error_name(wire.body(reply))),
                    };
                    (outcome, reply.close)
                }
                (Err(why), _) => (Outcome::Unanswered(why.clone()), true),
                (Ok(_), None) => (Outcome::Unanswered("no connection".to_owned()), true),
            };
            let refused = matches!(outcome, Outcome::Refused(..));
            if (outcome != Outcome::Right) && (!refused || kind.is_signed()) {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.shared.done.fetch_add(1, Ordering::Relaxed);
            self.tally.borrow_mut().record(kind, latency, outcome);
            if close {
                let could_not_open = wire.is_none() && answered.is_err();
                wire = None;
                if could_not_open {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    fn wrong(&self, why: String) -> Outcome {
        self.tally.borrow_mut().note_wrong(why);
        Outcome::Wrong
    }

    fn choose(&self) -> (Operation, Signing) {
        let plan = &self.shared.plan;
        let mut random = self.random.borrow_mut();
        let operation = plan.mix.at(random.below(plan.mix.total()));
        if plan.forged + plan.unsigned == 0.0 {
            return (operation, Signing::Right);
        }
        let share = random.share();
        let signing = if share < plan.forged {
            Signing::Forged
        } else if share < plan.forged + plan.unsigned {
            Signing::Absent
        } else {
            Signing::Right
        };
        (operation, signing)
    }

    async fn exchange(&self, wire: &mut Option<Wire>, request: &[u8]) -> Result<super::wire::Reply, String> {
        let wire = match wire {
            Some(wire) => wire,
            None => {
                let opening = Wire::open(&self.shared.plan.endpoint, self.shared.tls.as_ref());
                let opened = opening.await.map_err(|_| "no connection".to_owned())?;
                self.tally.borrow_mut().connections_opened += 1;
                wire.insert(opened)
            }
        };
        wire.exchange(request).await.map_err(|error| error.to_string())
    }
}

fn kind(operation: Operation, signing: Signing) -> Kind {
    match (signing, operation) {
        (Signing::Forged, _) => Kind::Forged,
        (Signing::Absent, _) => Kind::Unsigned,
        (Signing::Right, Operation::Health) => Kind::Health,
        (Signing::Right, Operation::Metadata) => Kind::Metadata,
        (Signing::Right, Operation::Encrypt) => Kind::Encrypt,
        (Signing::Right, Operation::Decrypt) => Kind::Decrypt,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_thread_that_interrupts_nobody_stays_as_urgent_as_others() {
        let now = || {
            // SAFETY: both take numbers only. 0 stands for the calling thread.
            unsafe { (libc::sched_getscheduler(0), libc::getpriority(libc::PRIO_PROCESS, 0)) }
        };
        let before = now();
        let after = std::thread::spawn(move || {
            super::interrupt_nobody();
            now()
        });
        assert_eq!(after.join().unwrap(), (libc::SCHED_BATCH, before.1));
        assert_eq!(now(), before);
    }
}
