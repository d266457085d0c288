//! One HSM as the fleet sees it: it takes calls, is checked, leaves service and comes back.

use crate::call::{Call, Pending};
use crate::fault::Fault;
use crate::ivs::Ivs;
use crate::lane::Lane;
use crate::lane::pace::quick_in_a_process;
use crate::module::{KeyAttributes, TokenInfo};
use crate::quirks::IvSource;
use crate::request::{Answer, Iv, Operation};
use crate::rv::{Breaker, CallError};
use crate::settings::{HsmSettings, Isolation, WorkerCommand};
use crate::token::TokenSettings;
use holdfast_secret::Secret;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

mod errors;
mod process;
mod supervisor;
mod threads;
mod watch;

pub(crate) use supervisor::supervise;
pub use supervisor::{Health, Status};
pub(crate) use watch::Watch;

/// After so many failures in a row an HSM leaves service.
const FAILURES: u32 = 3;

/// Why an HSM in threads doesn't serve though some of its sessions may be free.
const NO_MORE_REPLACED: &str = "calls hang in the module, and no more of their threads are replaced";

/// What connecting gives.
pub(crate) struct Connected {
    info: TokenInfo,
}

pub(crate) struct Hsm {
    pub(crate) name: Arc<str>,
    pub(crate) settings: HsmSettings,
    pub(crate) lane: Lane,
    transport: Transport,
    pin_folder: PathBuf,
    /// Whether requests go to it.
    serving: AtomicBool,
    failures: AtomicU32,
    /// Whether the user's PIN is locked.
    locked: AtomicBool,
    /// Whether the token has to be looked for again.
    lost: AtomicBool,
    stopping: AtomicBool,
    health: Mutex<Health>,
    keys: RwLock<Option<Arc<Vec<KeyAttributes>>>>,
    /// The PIN that the token accepted last.
    accepted: Mutex<Option<Secret>>,
    supervisor: OnceLock<Thread>,
    /// Those of all HSMs of the fleet: they have the same keys.
    ivs: Arc<Ivs>,
    /// Why it never serves again while this process lives: a bad IV.
    unfit: OnceLock<Fault>,
    bad_ivs: AtomicU64,
    /// How often it was connected.
    connections: AtomicU64,
    errors: errors::Errors,
    watch: Weak<Watch>,
    check_interval: Duration,
}

enum Transport {
    Threads(threads::Threads),
    Process(process::Process),
}

impl Hsm {
    pub(crate) fn new(
        settings: HsmSettings,
        pin_folder: PathBuf,
        check_interval: Duration,
        worker: WorkerCommand,
        watch: Weak<Watch>,
        ivs: Arc<Ivs>,
    ) -> Arc<Hsm> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (transport, quick) = match settings.isolation {
            Isolation::Threads { .. } => {
                (Transport::Threads(threads::Threads::default()), (cores / 2).max(1))
            }
            Isolation::Process => (Transport::Process(process::Process::new(worker)), quick_in_a_process()),
        };
        Arc::new(Hsm {
            name: Arc::from(settings.name.as_str()),
            lane: Lane::new(settings.queue, quick),
            transport,
            pin_folder,
            serving: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            locked: AtomicBool::new(false),
            lost: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            health: Mutex::new(Health::unchecked(&settings.name)),
            keys: RwLock::new(None),
            accepted: Mutex::new(None),
            supervisor: OnceLock::new(),
            ivs,
            unfit: OnceLock::new(),
            bad_ivs: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            errors: errors::Errors::default(),
            watch,
            check_interval,
            settings,
        })
    }

    fn token_settings(&self) -> TokenSettings {
        TokenSettings::of(&self.settings, self.pin_folder.clone())
    }

    /// How many sessions are used: one of those that the token allows holds the login.
    fn sessions(&self, info: &TokenInfo) -> usize {
        let allowed = info.session_limit.map_or(usize::MAX, |limit| limit.saturating_sub(1));
        self.settings.sessions.min(allowed).max(1)
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire) && self.unfit.get().is_none()
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Begins an operation.
    pub(crate) fn submit(&self, call: Arc<Call>, is_check: bool) -> Result<Pending, Fault> {
        let wake = self.lane.push(Arc::clone(&call), is_check)?;
        match &self.transport {
            Transport::Threads(_) => {
                if let Some(thread) = wake {
                    thread.unpark();
                }
            }
            Transport::Process(process) => process.pump(self),
        }
        if let Some(watch) = self.watch.upgrade() {
            watch.wake();
        }
        Ok(Pending(call))
    }

    /// Looks at what an encryption with this IV made: an HSM's IVs are not taken on trust, nor that it used the host's. One bad IV
    /// takes the HSM out for good.
    pub(crate) fn judge(&self, operation: Operation, given: Iv, answer: &Answer) -> Result<(), Fault> {
        if !operation.encrypts() {
            return Ok(());
        }
        let is_its_own = self.settings.quirks.iv == IvSource::Host && answer.iv != given;
        let judged = if is_its_own { Err(Fault::OtherIv) } else { self.ivs.judge(&answer.iv) };
        if let Err(fault) = judged {
            self.bad_ivs.fetch_add(1, Ordering::Relaxed);
            self.dismiss(&fault);
            return Err(fault);
        }
        // What was under way when another IV was found to be bad is of the same generator.
        self.unfit.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Takes the HSM out of service for as long as this process lives. A check can't tell that a generator that gave a bad IV
    /// gives good ones again.
    fn dismiss(&self, fault: &Fault) {
        if self.unfit.set(fault.clone()).is_ok() {
            self.serving.store(false, Ordering::Release);
            self.check_soon();
            tracing::error!(
                hsm = self.settings.name,
                why = %fault,
                "the HSM's IVs can't be trusted: it serves nothing until the host is restarted"
            );
        }
    }

    pub(crate) fn is_supervised_by(&self, thread: Thread) {
        // It was empty: this is called once.
        let _ = self.supervisor.set(thread);
    }

    pub(crate) fn check_soon(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.unpark();
        }
    }

    /// Which connection it has; none while it has none.
    pub(crate) fn connection(&self) -> Option<u64> {
        let connection = self.connections.load(Ordering::Acquire);
        (!self.lost.load(Ordering::Acquire)).then_some(connection)
    }

    /// An error of the module, mended or not.
    pub(crate) fn note(&self, error: &CallError) {
        self.errors.note(&self.name, error);
    }

    /// Learns from an operation's end.
    pub(crate) fn record(&self, fault: Option<&Fault>) {
        let Some(fault) = fault else {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            return;
        };
        if fault.loses_token() {
            self.lost.store(true, Ordering::Release);
        }
        match fault.breaker() {
            // The keys are others than were listed.
            Breaker::Keep if matches!(fault, Fault::NoKey | Fault::OtherKey | Fault::AmbiguousLabel) => {
                self.check_soon()
            }
            Breaker::Keep => {}
            Breaker::Open => self.trip(&fault.to_string()),
            Breaker::Count => {
                if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES {
                } else if *fault == Fault::Timeout {
                    self.trip(&fault.to_string());
                } else {
                    // It may be the key's fault and not the HSM's: a check with the test key decides.
                    self.failures.store(0, Ordering::Relaxed);
                    self.check_soon();
                }
            }
        }
    }

    /// Takes the HSM out of service until a check succeeds.
    pub(crate) fn trip(&self, why: &str) {
        if self.unfit.get().is_none() && self.serving.swap(false, Ordering::AcqRel) {
            self.check_soon();
            tracing::error!(
                hsm = self.settings.name,
                why,
                "the HSM gets no more requests until a check succeeds"
            );
            self.set_status(Status::Unavailable(why.to_owned()));
        }
    }

    /// The keys that were on the token when they were last listed; none before the first listing.
    pub(crate) fn keys(&self) -> Option<Arc<Vec<KeyAttributes>>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has calls go on that wait though a session is free.
    fn move_on(&self) {
        if let Transport::Process(process) = &self.transport {
            process.pump(self);
        }
    }

    /// Whether a call hangs in threads whose thread isn't replaced.
    fn is_stuck(&self) -> bool {
        let Isolation::Threads { replaced_at_most } = self.settings.isolation else { return false };
        self.lane.hung() >= replaced_at_most && self.lane.is_stuck(self.settings.hang_time)
    }

    /// A hung call: its thread is replaced, or its process ended.
    fn hangs(self: &Arc<Self>, place: usize) {
        match (&self.transport, self.settings.isolation) {
            (Transport::Threads(threads), Isolation::Threads { replaced_at_most }) => {
                if self.lane.hung() >= replaced_at_most {
                    self.trip(NO_MORE_REPLACED);
                } else if let Err(fault) = threads.replace(self, place) {
                    self.trip(&fault.to_string());
                } else {
                    tracing::error!(
                        hsm = self.settings.name,
                        "a call hangs in the module; its thread is replaced"
                    );
                }
            }
            (Transport::Process(process), _) => {
                if process.kill() {
                    tracing::error!(
                        hsm = self.settings.name,
                        "a call hangs in the module; its process is ended"
                    );
                }
            }
            (Transport::Threads(_), Isolation::Process) => {}
        }
    }

    /// Ends the HSM's threads. What hangs in the module stays there.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.serving.store(false, Ordering::Release);
        self.lane.close(&Fault::Lost("the proxy is stopping".into()));
        for thread in self.lane.threads() {
            thread.unpark();
        }
        self.end_process(&Fault::Lost("the proxy is stopping".into()));
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.unpark();
        }
    }

    fn end_process(&self, fault: &Fault) {
        if let Transport::Process(process) = &self.transport {
            process.end(self, fault);
        }
    }

    /// What the last check found.
    pub(crate) fn health(&self) -> Health {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = health.checked.map(|checked| checked.elapsed()).unwrap_or_default();
        health.bad_ivs = self.bad_ivs.load(Ordering::Relaxed);
        health.errors = self.errors.count();
        if let Some(fault) = self.unfit.get() {
            health.status = Status::Unavailable(format!("{fault}; it is out until the host is restarted"));
        }
        if health.status == Status::Active && age > 3 * self.check_interval {
            health.status = Status::Degraded(format!("the last check was {} s ago", age.as_secs()));
        }
        health
    }

    fn set_status(&self, status: Status) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.status = status;
        health.checked = Some(Instant::now());
    }
}
