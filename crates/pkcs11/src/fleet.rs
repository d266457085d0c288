//! One to ten HSMs with the same keys: each operation goes to the least loaded that serves, and to another if that fails.

use crate::call::Call;
use crate::catalog::{Catalog, Key, Version};
use crate::error::Error;
use crate::fault::Fault;
use crate::hsm::{Health, Hsm, Status, Watch, supervise};
use crate::ivs::Ivs;
use crate::quirks::IvSource;
use crate::request::{Answer, Iv, Operation, Work};
use crate::settings::{FleetSettings, HsmSettings};
use crate::uses::{Uses, UsesError};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

mod operations;
mod sample_proxy;

pub use operations::{Decrypted, Encrypted, KeyDescription, Sealed};

/// An HSM that had less than this for an operation isn't judged by not having done it.
const FAIR_TIME: Duration = Duration::from_millis(25);

/// Why a fleet can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not one to ten HSMs.
    #[error("a key store has one to ten HSMs, not {0}")]
    Count(usize),
    /// Two have one name.
    #[error("two HSMs are named '{0}'")]
    Name(String),
    /// Two are one token.
    #[error("HSMs '{0}' and '{1}' are the same token of the same module")]
    Token(String, String),
    /// Sessions, queue or hang time is out of range.
    #[error("HSM '{0}': sessions must be 1 to 1024, and hang_time at least 100 ms")]
    Range(String),
    /// A folder can't be made.
    #[error("the state folder {path} can't be made: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of use counts can't be read.
    #[error("{0}")]
    Uses(#[from] UsesError),
    /// No thread could be started.
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
}

/// A fleet at work. Dropping it ends its threads and worker processes.
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    settings: FleetSettings,
    hsms: Vec<Arc<Hsm>>,
    catalog: RwLock<Arc<Catalog>>,
    refreshing: Mutex<()>,
    uses: Uses,
    reserver: OnceLock<Thread>,
    changed: (Mutex<()>, Condvar),
    looked: Mutex<Option<Instant>>,
    turn: AtomicUsize,
    // Held, so that it lives as long as the fleet.
    _watch: Arc<Watch>,
}

impl Fleet {
    /// Starts. HSMs connect in the background: until then operations are refused as unavailable.
    pub fn start(settings: FleetSettings) -> Result<Fleet, StartError> {
        if !(1..=10).contains(&settings.hsms.len()) {
            return Err(StartError::Count(settings.hsms.len()));
        }
        for (index, hsm) in settings.hsms.iter().enumerate() {
            if settings.hsms[..index].iter().any(|other| other.name == hsm.name) {
                return Err(StartError::Name(hsm.name.clone()));
            }
            let is_same = |other: &&HsmSettings| {
                other.module == hsm.module && other.token == hsm.token && other.environment == hsm.environment
            };
            if let Some(other) = settings.hsms[..index].iter().find(is_same) {
                return Err(StartError::Token(other.name.clone(), hsm.name.clone()));
            }
            if !(1..=1024).contains(&hsm.sessions) || hsm.hang_time < Duration::from_millis(100) {
                return Err(StartError::Range(hsm.name.clone()));
            }
        }
        for path in [&settings.state_folder, &settings.pin_folder] {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|source| StartError::Folder { path: path.clone(), source })?;
        }
        let uses =
            Uses::open(settings.state_folder.join("uses"), settings.warn_after, settings.refuse_after)?;
        let watch = Arc::new(Watch::default());
        let ivs = Arc::new(Ivs::default());
        let hsm = |hsm: &HsmSettings| {
            Hsm::new(
                hsm.clone(),
                settings.pin_folder.clone(),
                settings.check_interval,
                settings.worker.clone(),
                Arc::downgrade(&watch),
                Arc::clone(&ivs),
            )
        };
        let hsms: Vec<_> = settings.hsms.iter().map(hsm).collect();
        let inner = Arc::new(Inner {
            hsms,
            uses,
            settings,
            catalog: RwLock::default(),
            refreshing: Mutex::default(),
            reserver: OnceLock::new(),
            changed: (Mutex::new(()), Condvar::new()),
            looked: Mutex::new(None),
            turn: AtomicUsize::new(0),
            _watch: Arc::clone(&watch),
        });
        let fleet = Fleet { inner };
        fleet.start_threads(&watch).map_err(StartError::Thread)?;
        Ok(fleet)
    }

    fn start_threads(&self, watch: &Arc<Watch>) -> std::io::Result<()> {
        watch.start(self.inner.hsms.iter().map(Arc::downgrade).collect())?;
        let inner = Arc::downgrade(&self.inner);
        let reserve = move || {
            loop {
                match inner.upgrade() {
                    Some(inner) if !inner.hsms[0].is_stopping() => inner.reserve(),
                    _ => return,
                }
                thread::park();
            }
        };
        let reserver = thread::Builder::new().name("hsm uses".into()).spawn(reserve)?;
        // It was empty: this is called once.
        let _ = self.inner.reserver.set(reserver.thread().clone());
        for hsm in &self.inner.hsms {
            let (inner, hsm) = (Arc::downgrade(&self.inner), Arc::clone(hsm));
            let name = format!("{} checks", hsm.settings.name);
            let listed = move || {
                if let Some(inner) = inner.upgrade() {
                    inner.refresh();
                }
            };
            let supervisor = Arc::clone(&hsm);
            let started = thread::Builder::new().name(name).spawn(move || supervise(&supervisor, &listed))?;
            hsm.is_supervised_by(started.thread().clone());
        }
        Ok(())
    }

    /// What the last checks found, in the order of the settings. It asks no HSM.
    pub fn health(&self) -> Vec<Health> {
        self.inner.hsms.iter().map(|hsm| hsm.health()).collect()
    }

    /// Whether any HSM serves.
    pub fn can_serve(&self) -> bool {
        self.inner.hsms.iter().any(|hsm| hsm.is_serving())
    }

    /// Waits until every HSM was checked once, or one of them serves and `patience` is over.
    pub fn wait_for_first_checks(&self, patience: Duration) {
        self.wait_until(patience, |fleet| fleet.health().iter().all(|health| health.checked.is_some()));
    }

    /// Waits until `condition` holds, looking after every check. False if it didn't within `patience`.
    pub fn wait_until(&self, patience: Duration, condition: impl Fn(&Fleet) -> bool) -> bool {
        let until = Instant::now() + patience;
        let (lock, changed) = &self.inner.changed;
        let mut held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !condition(self) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Breakers open without a check: looked at every now and then too.
            let pause = left.min(Duration::from_millis(20));
            held = changed.wait_timeout(held, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Checks all HSMs now, in the background, and lists their keys again.
    pub fn check_now(&self) {
        for hsm in &self.inner.hsms {
            hsm.check_soon();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for hsm in &self.inner.hsms {
            hsm.stop();
        }
        if let Some(reserver) = self.inner.reserver.get() {
            reserver.unpark();
        }
    }
}

impl Inner {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After a listing: the catalog of keys, and use counts for new versions.
    fn refresh(&self) {
        // One at a time: whoever listed last sees all listings, and what it makes of them stays.
        let _refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let listings: Vec<_> = self.hsms.iter().map(|hsm| hsm.keys()).collect();
        let test_keys = self.settings.hsms.iter().filter_map(|hsm| hsm.test_key.clone());
        let hidden: Vec<_> = test_keys.chain(self.settings.hidden.iter().cloned()).collect();
        let catalog = Catalog::build(&listings, self.settings.keys.as_ref(), &hidden, &self.uses);
        self.reserve();
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.changed.1.notify_all();
    }

    fn reserve(&self) {
        if let Err(error) = self.uses.reserve() {
            tracing::error!(%error, "uses of keys can't be counted; encryptions end when the reserved ones are used up");
        }
    }

    /// Does an operation on the least loaded HSM that serves and has the version; once more on another if that may help.
    async fn run(
        &self,
        operation: Operation,
        version: &Version,
        iv: Option<Iv>,
        aad: Arc<[u8]>,
        data: Arc<Zeroizing<Vec<u8>>>,
        deadline: Instant,
    ) -> Result<(Answer, usize), Error> {
        // One that is verified is two of the HSM's.
        let parts = if operation == Operation::EncryptVerified { 2 } else { 1 };
        let mut tried: u16 = 0;
        let mut attempts = 0;
        let mut failed = None;
        while let Some((index, has_other)) = self.choose(version.on, tried) {
            tried |= 1 << index;
            let hsm = &self.hsms[index];
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::Timeout);
            }
            // The second attempt is the last, whoever is left.
            let until = match has_other && attempts == 0 {
                true => deadline.min(now + self.first_attempt(parts, deadline.duration_since(now))),
                false => deadline,
            };
            let by_hsm = hsm.settings.quirks.iv != IvSource::Host;
            let iv = match iv {
                Some(iv) => iv,
                None if by_hsm => Iv::zero(12),
                None => Iv::random().map_err(|error| Error::Failed(format!("no randomness: {error}")))?,
            };
            if operation.encrypts() {
                let counted = self.uses.count(&version.label, &version.counter);
                // Where none are left because the disk failed, that may have passed.
                if !matches!(counted, Ok(false)) {
                    self.reserve_soon();
                }
                counted?;
            }
            let work = Work {
                operation,
                label: Arc::clone(&version.label),
                iv,
                aad: Arc::clone(&aad),
                data: Arc::clone(&data),
            };
            let result = match hsm.submit(Call::new(work, until), false) {
                Ok(pending) => {
                    attempts += 1;
                    pending.await
                }
                Err(fault) => Err(fault),
            };
            let fault = match result {
                Ok(answer) => match hsm.judge(operation, &answer) {
                    Ok(()) => {
                        hsm.record(None);
                        return Ok((answer, index));
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            // A caller that came late says nothing about the HSM.
            if fault != Fault::Timeout || until.saturating_duration_since(now) >= FAIR_TIME * parts {
                hsm.record(Some(&fault));
            }
            let error = match Error::of(&hsm.settings.name, &fault) {
                // What is encrypted can't be altered: the code makes no sense.
                Error::InvalidCiphertext if operation.encrypts() => {
                    Error::Failed(format!("{}: {fault}", hsm.settings.name))
                }
                error => error,
            };
            if !fault.elsewhere() {
                return Err(error);
            }
            tracing::debug!(hsm = hsm.settings.name, %fault, "another HSM is tried");
            failed = Some(error);
            if attempts == 2 {
                break;
            }
        }
        Err(failed.unwrap_or_else(|| self.unavailable()))
    }

    /// How long the first attempt may take of the time that is `left`: twice as long for an operation of two parts, if it leaves
    /// as much for the second.
    fn first_attempt(&self, parts: u32, left: Duration) -> Duration {
        let time = self.settings.attempt_time;
        (time * parts).min(time.max(left / 2))
    }

    /// The least loaded HSM that serves, of equals each in its turn; and whether there is another.
    fn choose(&self, on: u16, tried: u16) -> Option<(usize, bool)> {
        let (count, turn) = (self.hsms.len(), self.turn.fetch_add(1, Ordering::Relaxed));
        let candidates = || {
            let usable = |index: &usize| (on & !tried) & (1 << index) != 0 && self.hsms[*index].is_serving();
            (0..count).map(|step| (turn % count + step) % count).filter(usable)
        };
        let least = candidates().min_by_key(|index| self.hsms[*index].lane.load())?;
        Some((least, candidates().count() > 1))
    }

    fn unavailable(&self) -> Error {
        if self.hsms.iter().all(|hsm| hsm.is_locked()) {
            return Error::Locked;
        }
        let why = self.hsms.iter().map(|hsm| {
            let health = hsm.health();
            match health.status {
                Status::Unavailable(why) => format!("{}: {why}", health.name),
                _ => format!("{}: it hasn't this version of the key", health.name),
            }
        });
        Error::Unavailable(why.collect::<Vec<_>>().join("; "))
    }

    /// Why a ciphertext can't be decrypted that names a version nobody listed: one may have been made since the last listing,
    /// or be on an HSM that wasn't reached yet, and then the ciphertext may be right.
    fn unknown_version(&self) -> Error {
        self.look_for_new_keys();
        match self.hsms.iter().all(|hsm| hsm.keys().is_some()) {
            true => Error::InvalidCiphertext,
            false => self.unavailable(),
        }
    }

    fn reserve_soon(&self) {
        if let Some(reserver) = self.reserver.get() {
            reserver.unpark();
        }
    }

    fn key<'a>(&self, catalog: &'a Catalog, id: &str) -> Result<&'a Key, Error> {
        match catalog.keys.get(id) {
            Some(key) => Ok(key),
            // A key that no HSM could be asked for isn't unknown.
            None if !catalog.is_known => Err(self.unavailable()),
            None => {
                self.look_for_new_keys();
                Err(Error::KeyNotFound)
            }
        }
    }

    /// Has the keys listed, at most once a second: one may have been made since the last listing.
    fn look_for_new_keys(&self) {
        let mut last = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > Duration::from_secs(1)) {
            *last = Some(Instant::now());
            for hsm in &self.hsms {
                hsm.check_soon();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quirks::Quirks;
    use crate::settings::{Isolation, TokenSelector};
    use holdfast_secret::Secret;

    #[test]
    fn an_iv_that_another_hsm_of_the_fleet_made_is_a_repeated_one() {
        let state = tempfile::tempdir().unwrap();
        let hsm = |name: &str| HsmSettings {
            isolation: Isolation::Threads { replaced_at_most: 0 },
            quirks: Quirks { iv: IvSource::Parameters, ..Quirks::default() },
            ..HsmSettings::new(
                name,
                "/nonexistent.so",
                TokenSelector::Label(name.to_owned()),
                Arc::new(|| Ok(Secret::copy_from(b"1"))),
            )
        };
        let fleet = Fleet::start(FleetSettings::new(vec![hsm("a"), hsm("b")], state.path())).unwrap();
        let [one, other] = fleet.inner.hsms.as_slice() else { panic!("two HSMs") };
        let answer = Answer { iv: Iv::random().unwrap(), data: Zeroizing::new(Vec::new()), verified: None };
        assert_eq!(one.judge(Operation::Encrypt, &answer), Ok(()));
        assert_eq!(other.judge(Operation::Encrypt, &answer), Err(Fault::RepeatedIv));
    }
}
