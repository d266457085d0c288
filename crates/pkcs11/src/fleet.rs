//! One to ten HSMs with the same keys: each operation goes to the least loaded that serves, and to another if that fails.

use crate::catalog::{Bound, Catalog, Compared, Key};
use crate::hsm::{Health, Hsm, Status, Watch};
use crate::module::KeyAttributes;
use crate::settings::FleetSettings;
use crate::uses::Uses;
use holdfast_gate::backend::BackendError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

mod attempt;
mod compare;
pub(crate) mod operations;
mod sample_proxy;
pub(crate) mod start;

/// A fleet at work. Dropping it ends its threads and worker processes.
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    settings: FleetSettings,
    hsms: Vec<Arc<Hsm>>,
    catalog: RwLock<Arc<Catalog>>,
    /// Held while the catalog is made. Which key each label is, since it was found first: another one under the label isn't used.
    /// And of which labels HSMs were seen to have the same key.
    refreshing: Mutex<(Bound, Compared)>,
    uses: Uses,
    reserver: OnceLock<Thread>,
    changed: (Mutex<()>, Condvar),
    looked: Mutex<Option<Instant>>,
    /// What is wrong with keys that HSMs have in common, and was told.
    troubles: Mutex<Vec<String>>,
    told_of_dates: AtomicBool,
    turn: AtomicUsize,
    // Held, so that it lives as long as the fleet.
    _watch: Arc<Watch>,
}

impl Fleet {
    /// What the last checks found, in the order of the settings. It asks no HSM.
    pub fn health(&self) -> Vec<Health> {
        let trouble = self.inner.uses.trouble();
        let troubles = self.inner.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let used_up = trouble.is_some() && self.inner.uses.is_used_up();
        let health = |hsm: &Arc<Hsm>| {
            let mut health = hsm.health();
            if let Some(why) = trouble.as_ref().filter(|_| !matches!(health.status, Status::Unavailable(_))) {
                health.status = match used_up {
                    true => {
                        Status::Unavailable(format!("nothing is encrypted, and decrypting goes on: {why}"))
                    }
                    false => Status::Degraded(format!("encrypting will end: {why}")),
                };
            }
            if let Some(why) = troubles.first().filter(|_| health.status == Status::Active) {
                health.status = Status::Degraded(why.clone());
            }
            health
        };
        self.inner.hsms.iter().map(health).collect()
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
        let mut refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let (bound, compared) = &mut *refreshing;
        let listings: Vec<_> = self.hsms.iter().map(|hsm| hsm.keys()).collect();
        let test_keys = self.settings.hsms.iter().filter_map(|hsm| hsm.test_key.clone());
        let hidden: Vec<_> = test_keys.chain(self.settings.hidden.iter().cloned()).collect();
        let mut catalog = Catalog::build(&listings, self.settings.keys.as_ref(), &hidden, bound, &self.uses);
        // What is compared are uses as well.
        self.reserve();
        let apart = self.compare(&mut catalog, &listings, compared);
        let versions = catalog.keys.values().flat_map(|key| &key.versions);
        for version in versions.filter(|version| !version.check_value.is_empty()) {
            let first = || (Arc::clone(&version.check_value), 0);
            bound.entry(Arc::clone(&version.label)).or_insert_with(first).1 |= version.on;
        }
        self.tell_of(&catalog, &listings, apart);
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.changed.1.notify_all();
    }

    /// Keys that aren't the same everywhere: each is told once, for as long as it is so.
    fn tell_of(&self, catalog: &Catalog, listings: &[Option<Arc<Vec<KeyAttributes>>>], apart: Vec<String>) {
        let versions = catalog.keys.values().flat_map(|key| &key.versions);
        let differing = versions.filter(|version| version.differs).map(|version| {
            let label = &*version.label;
            let of_hsm = |(hsm, listing): (&Arc<Hsm>, &Option<Arc<Vec<KeyAttributes>>>)| {
                let key = listing.as_ref()?.iter().find(|key| key.label == label)?;
                let value: String = key.check_value.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("{} {value}", hsm.name))
            };
            let values: Vec<String> = self.hsms.iter().zip(listings).filter_map(of_hsm).collect();
            format!(
                "the HSMs have different keys with the label '{label}', by their check values ({}): it encrypts nothing until it is one key everywhere",
                values.join(", ")
            )
        });
        let versions = catalog.keys.values().flat_map(|key| &key.versions);
        let replaced = versions.filter(|version| version.replaced != 0).map(|version| {
            let has = |(index, _): &(usize, &Arc<Hsm>)| version.replaced & (1 << index) != 0;
            let hsms: Vec<&str> =
                self.hsms.iter().enumerate().filter(has).map(|(_, hsm)| &*hsm.name).collect();
            format!(
                "the label '{}' is another key than before on {}, which isn't used: give the key its label back, or restart the host if the new one is meant",
                version.label,
                hsms.join(", ")
            )
        });
        let mut found: Vec<String> = differing.chain(replaced).chain(apart).collect();
        found.sort_unstable();
        let mut told = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        for why in found.iter().filter(|why| !told.contains(why)) {
            tracing::error!(why, "a key can't be used as it is");
        }
        *told = found;
        let odd = |listing: &Option<Arc<Vec<KeyAttributes>>>| {
            listing.as_ref().is_some_and(|listing| listing.iter().any(|key| key.has_odd_dates))
        };
        if listings.iter().any(odd) && !self.told_of_dates.swap(true, Ordering::Relaxed) {
            tracing::info!("the HSM doesn't tell the dates of its keys, so they are treated as undated");
        }
    }

    fn reserve(&self) {
        if let Err(error) = self.uses.reserve() {
            tracing::error!(%error, "uses of keys can't be counted; encryptions end when the reserved ones are used up");
        }
    }

    fn unavailable(&self) -> BackendError {
        if self.hsms.iter().all(|hsm| hsm.is_locked()) {
            return BackendError::Locked(
                "the user's PIN is locked on every HSM; the security officer has to set a new one".into(),
            );
        }
        let why = self.hsms.iter().map(|hsm| {
            let health = hsm.health();
            match health.status {
                Status::Unavailable(why) => format!("{}: {why}", health.name),
                _ => format!("{}: it hasn't this version of the key", health.name),
            }
        });
        BackendError::Unavailable(why.collect::<Vec<_>>().join("; "))
    }

    /// Why a ciphertext can't be decrypted that names a version nobody listed: one may have been made since the last listing,
    /// or be on an HSM that wasn't reached yet, and then the ciphertext may be right.
    fn unknown_version(&self) -> BackendError {
        self.look_for_new_keys();
        match self.hsms.iter().all(|hsm| hsm.keys().is_some()) {
            true => BackendError::InvalidCiphertext,
            false => self.unavailable(),
        }
    }

    fn reserve_soon(&self) {
        if let Some(reserver) = self.reserver.get() {
            reserver.unpark();
        }
    }

    fn key<'a>(&self, catalog: &'a Catalog, id: &str) -> Result<&'a Key, BackendError> {
        match catalog.keys.get(id) {
            Some(key) => Ok(key),
            // A key that no HSM could be asked for isn't unknown.
            None if !catalog.is_known => Err(self.unavailable()),
            None => {
                self.look_for_new_keys();
                Err(BackendError::KeyNotFound)
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
    use crate::fault::Fault;
    use crate::quirks::{IvSource, Quirks};
    use crate::request::{Answer, Iv, Operation};
    use crate::settings::{HsmSettings, Isolation, TokenSelector};
    use holdfast_secret::Secret;
    use zeroize::Zeroizing;

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
        let answer = Answer {
            iv: Iv::random().unwrap(),
            data: Zeroizing::new(Vec::new()),
            verified: None,
            repaired: None,
        };
        assert_eq!(one.judge(Operation::Encrypt, answer.iv, &answer), Ok(()));
        assert_eq!(other.judge(Operation::Encrypt, answer.iv, &answer), Err(Fault::RepeatedIv));
    }
}
