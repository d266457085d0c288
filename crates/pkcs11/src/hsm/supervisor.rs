//! A thread for each HSM: connects, checks, lists the keys, and brings the HSM back into service.

use super::{Connected, Hsm, NO_MORE_REPLACED, Transport};
use crate::call::{Call, wait};
use crate::descriptions::{self, Listing};
use crate::fault::Fault;
use crate::lane::hung::LIST_TIME;
use crate::request::{Answer, Iv, Operation, Work};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long an operation of a check may take.
const CHECK_TIME: Duration = Duration::from_secs(1);
/// An HSM out of service is probed after this, twice as long each time, up to the most; each with a random part.
const PROBE_FIRST: Duration = Duration::from_millis(200);
const PROBE_MOST: Duration = Duration::from_millis(1000);
/// The least time from check to check.
const CHECK_PAUSE: Duration = Duration::from_millis(100);
/// An HSM that needs longer than this for a check is degraded.
const SLOW: Duration = Duration::from_millis(150);

/// Whether an HSM can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It encrypts and decrypts.
    Active,
    /// It serves, but something is wrong.
    Degraded(String),
    /// It doesn't serve.
    Unavailable(String),
}

/// What the last check of an HSM found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The operator's name for it.
    pub name: String,
    /// The token's model.
    pub model: String,
    /// The firmware's version.
    pub firmware: String,
    /// The token's serial number.
    pub serial: String,
    /// Whether it can serve.
    pub status: Status,
    /// When that was found; none before the first check.
    pub checked: Option<Instant>,
    /// How many IVs it made that were zeros or had been there before. One is enough to be out of service for good.
    pub bad_ivs: u64,
    /// How many operations the module failed in with an error that isn't about the ciphertext or the key's usage, mended or not.
    pub errors: u64,
}

impl Health {
    pub(super) fn unchecked(name: &str) -> Health {
        Health {
            name: name.to_owned(),
            model: String::new(),
            firmware: String::new(),
            serial: String::new(),
            status: Status::Unavailable("it was not checked yet".into()),
            checked: None,
            bad_ivs: 0,
            errors: 0,
        }
    }
}

/// Connects, checks and waits, until the fleet is gone or the HSM is unfit to serve. `listed` is called when the keys were listed.
pub(crate) fn supervise(hsm: &Arc<Hsm>, listed: &dyn Fn()) {
    let mut pause = PROBE_FIRST;
    let mut failed = false;
    while !hsm.is_stopping() && hsm.unfit.get().is_none() {
        let began = Instant::now();
        let stuck = hsm.is_stuck();
        let result = match stuck {
            // The other sessions would pass the check, until they hang too.
            true => Err(Fault::Lost(NO_MORE_REPLACED.into())),
            false => hsm.connect_if_lost().and_then(|()| hsm.check()),
        };
        if hsm.unfit.get().is_some() {
            break;
        }
        if result.is_ok() {
            listed();
        }
        let until_next = match result {
            Ok(degraded) => {
                // What degrades it may pass.
                let until_next = if degraded.is_some() { PROBE_MOST } else { hsm.check_interval };
                hsm.serves(degraded);
                failed = false;
                pause = PROBE_FIRST;
                until_next.min(hsm.check_interval)
            }
            Err(fault) => {
                hsm.fails(&fault, failed, stuck);
                failed = !stuck;
                let now = jittered(pause);
                pause = (pause * 2).min(PROBE_MOST);
                now
            }
        };
        thread::park_timeout(until_next);
        // However often it is asked for.
        thread::sleep(CHECK_PAUSE.saturating_sub(began.elapsed()));
    }
    let fault = hsm.unfit.get().cloned().unwrap_or(Fault::Lost("the proxy is stopping".into()));
    hsm.lane.close(&fault);
    hsm.end_process(&fault);
}

/// What is wrong with some of a token's keys, while the others serve.
fn ill_kept(listing: &Listing) -> Option<String> {
    let mut labels: Vec<&str> = listing.keys.iter().map(|key| key.label.as_str()).collect();
    labels.sort_unstable();
    let twice = labels.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    if let Some(label) = twice {
        return Some(format!(
            "several keys have the label '{label}', so that none of them is used; give each its own"
        ));
    }
    let (first, count) = (listing.unreadable.first()?, listing.unreadable.len());
    Some(format!("{count} objects can't be read and aren't used, the first of them {first}"))
}

/// Half of it, and up to as much again.
fn jittered(time: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness it is just not random.
    let _ = getrandom::fill(&mut random);
    time / 2 + time * u32::from(random[0]) / 256
}

impl Hsm {
    fn connect_if_lost(self: &Arc<Self>) -> Result<(), Fault> {
        if !self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        self.lane.close(&Fault::Lost("the HSM is being connected".into()));
        let pin =
            (self.settings.pin)().map_err(|why| Fault::Token(format!("the PIN can't be read: {why}")))?;
        let tried = Some(pin.clone());
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let proven = *accepted == tried;
        let Connected { info } = match &self.transport {
            Transport::Threads(threads) => threads.connect(self, pin, proven)?,
            Transport::Process(process) => process.connect(self, pin, proven)?,
        };
        *accepted = tried;
        drop(accepted);
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.lost.store(false, Ordering::Release);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            hsm = self.settings.name,
            model = info.model,
            serial = info.serial,
            "connected to the HSM"
        );
        health.model = info.model;
        health.firmware = info.firmware;
        health.serial = info.serial;
        Ok(())
    }

    /// An operation of a check.
    pub(crate) fn ask(
        &self,
        operation: Operation,
        label: &str,
        iv: Iv,
        data: Zeroizing<Vec<u8>>,
    ) -> Result<Answer, Fault> {
        let aad = Arc::from(b"holdfast health check".as_slice());
        let time = if operation == Operation::List { LIST_TIME } else { CHECK_TIME };
        let check_value = Arc::from([].as_slice());
        let work = Work { operation, label: label.into(), check_value, iv, aad, data: Arc::new(data) };
        wait(self.submit(Call::new(work, Instant::now() + time), true)?)
    }

    /// Lists the keys; encrypts and decrypts with the test key. Says why the HSM is degraded, if it is.
    fn check(&self) -> Result<Option<String>, Fault> {
        let iv = Iv::random().map_err(|error| Fault::Token(error.to_string()))?;
        let listed = self.ask(Operation::List, "", iv, Zeroizing::new(Vec::new()))?;
        let listed =
            descriptions::decode_keys(&listed.data).map_err(|error| Fault::Lost(error.to_string()))?;
        let began = Instant::now();
        let has = |label: &String| listed.keys.iter().any(|key| key.label == *label);
        let test_key = self.settings.test_key.clone();
        let degraded = match &test_key {
            None => Some("no test key is configured, so that encryption isn't checked".to_owned()),
            Some(label) if !has(label) => {
                Some(format!("the token has no test key '{label}', so that encryption isn't checked"))
            }
            Some(label) => {
                let mut plaintext = vec![0; 32];
                getrandom::fill(&mut plaintext).map_err(|error| Fault::Token(error.to_string()))?;
                let sealed = self.ask(Operation::Encrypt, label, iv, Zeroizing::new(plaintext.clone()))?;
                self.judge(Operation::Encrypt, iv, &sealed)?;
                let opened = self.ask(Operation::Decrypt, label, sealed.iv, sealed.data)?;
                if *opened.data != plaintext {
                    return Err(Fault::Form("another plaintext than was encrypted".into()));
                }
                None
            }
        };
        let ill = ill_kept(&listed);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listed.keys));
        let hung = self.lane.hung();
        Ok(match degraded {
            None if ill.is_some() => ill,
            None if hung > 0 => Some(format!("{hung} calls hang in the module")),
            None if began.elapsed() > SLOW => Some("a check took more than 150 ms".into()),
            degraded => degraded,
        })
    }

    fn serves(&self, degraded: Option<String>) {
        self.failures.store(0, Ordering::Relaxed);
        self.locked.store(false, Ordering::Release);
        let status = degraded.map_or(Status::Active, Status::Degraded);
        let served = self.serving.swap(true, Ordering::AcqRel);
        match &status {
            Status::Degraded(why) if !served || self.health().status != status => {
                tracing::warn!(hsm = self.settings.name, why, "the HSM serves, degraded");
            }
            _ if !served => tracing::info!(hsm = self.settings.name, "the HSM serves"),
            _ => {}
        }
        self.set_status(status);
    }

    fn fails(&self, fault: &Fault, again: bool, stuck: bool) {
        // A check that fails over and over may need a fresh connection, whatever the code; one that is late, perhaps not. What
        // hangs is still connected.
        if !stuck && (again || !matches!(fault, Fault::Timeout | Fault::Queued)) {
            self.lost.store(true, Ordering::Release);
        }
        self.locked.store(fault.is_locked(), Ordering::Release);
        if self.serving.load(Ordering::Acquire) {
            self.trip(&fault.to_string());
        } else {
            let status = Status::Unavailable(fault.to_string());
            if self.health().status != status {
                tracing::error!(hsm = self.settings.name, why = %fault, "the HSM can't be used");
            }
            self.set_status(status);
        }
    }
}
