//! The module as it is loaded into a process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use cryptoki_sys::{CK_SESSION_HANDLE, CK_SLOT_ID};

use crate::functions::Function;
use crate::gcm::Operation;
use crate::message::Direction;
use crate::real::Real;
use crate::rules::Rules;
use crate::settings::Settings;
use crate::status::{PerProcess, Status};

/// How often a control file is looked at that somebody else than [`Faults`](crate::control::Faults) may have changed.
pub const LOOK: Duration = Duration::from_millis(20);

/// Everything that this copy of the module knows.
pub struct Module {
    pub real: Real,
    pub settings: Settings,
    pub status: Status,
    place: usize,
    rules: RwLock<Arc<Rules>>,
    /// The generation that `rules` are of.
    seen: AtomicU32,
    /// When the control file was looked at last, in milliseconds since `started`.
    looked: AtomicU64,
    started: Instant,
    stamp: Mutex<Option<Stamp>>,
    /// Shared by calls inside the real module; alone is who closes sessions behind their back.
    pub sessions_in_use: RwLock<()>,
    pub sessions: Mutex<HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>>,
    /// Held where sessions are limited, from counting them until there is one more.
    pub opening: Mutex<()>,
    pub operations: Mutex<HashMap<CK_SESSION_HANDLE, Operation>>,
    pub messages: Mutex<HashMap<(CK_SESSION_HANDLE, Direction), u64>>,
    pub last_iv: Mutex<Vec<u8>>,
}

type Stamp = (SystemTime, u64, u64);

impl Module {
    /// The one of this process, loaded at the first call.
    pub fn get() -> Option<&'static Self> {
        static MODULE: OnceLock<Option<Module>> = OnceLock::new();
        let load = || match Module::load() {
            Ok(module) => Some(module),
            Err(reason) => {
                eprintln!("fault module: {reason}");
                None
            }
        };
        MODULE.get_or_init(load).as_ref()
    }

    fn load() -> Result<Self, String> {
        let settings = Settings::find()?;
        let status = match &settings.status {
            Some(path) => Status::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => Status::private().map_err(|error| format!("no memory for counters: {error}"))?,
        };
        let place = status.claim().ok_or("too many processes use the status file")?;
        let module = Self {
            real: Real::load(&settings.real)?,
            settings,
            status,
            place,
            rules: RwLock::default(),
            seen: AtomicU32::new(u32::MAX),
            looked: AtomicU64::new(0),
            started: Instant::now(),
            stamp: Mutex::default(),
            sessions_in_use: RwLock::default(),
            sessions: Mutex::default(),
            opening: Mutex::default(),
            operations: Mutex::default(),
            messages: Mutex::default(),
            last_iv: Mutex::default(),
        };
        module.rules();
        Ok(module)
    }

    /// What this process has in the status file.
    pub fn process(&self) -> &PerProcess {
        &self.status.shared().processes[self.place]
    }

    /// The rules as the control file has them now.
    pub fn rules(&self) -> Arc<Rules> {
        let generation = self.status.shared().generation.load(Ordering::Acquire);
        let now = self.started.elapsed().as_millis() as u64;
        let looked = self.looked.load(Ordering::Relaxed);
        let stale = generation != self.seen.load(Ordering::Acquire);
        if stale || now.saturating_sub(looked) >= LOOK.as_millis() as u64 {
            self.look_again(generation, now);
        }
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_again(&self, generation: u32, now: u64) {
        let Some(path) = &self.settings.control else {
            self.seen.store(generation, Ordering::Release);
            return;
        };
        let mut stamp = lock(&self.stamp);
        self.looked.store(now, Ordering::Relaxed);
        let found = stamp_of(path);
        if self.seen.load(Ordering::Acquire) != generation || *stamp != found {
            *stamp = found;
            let text = std::fs::read_to_string(path).unwrap_or_default();
            match Rules::parse(&text) {
                Ok(rules) => self.take(rules),
                Err(line) => eprintln!("fault module: {}: {line}", path.display()),
            }
            self.seen.store(generation, Ordering::Release);
        }
    }

    fn take(&self, new: Rules) {
        let old = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        let pulled = new.removed.is_some() || new.insertion != old.insertion;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        if pulled {
            self.lose_sessions();
        }
    }

    /// What pulling a token does to its sessions and logins.
    fn lose_sessions(&self) {
        let _alone = self.sessions_in_use.write().unwrap_or_else(PoisonError::into_inner);
        let mut slots: Vec<CK_SLOT_ID> = lock(&self.sessions).drain().map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            // SAFETY: the real module was initialised, as it had a session.
            unsafe { self.real.C_CloseAllSessions(slot) };
        }
        lock(&self.operations).clear();
        lock(&self.messages).clear();
        self.count_sessions();
    }

    /// Brings the status file up to date.
    pub fn count_sessions(&self) {
        let open = lock(&self.sessions).len();
        self.process().sessions.store(open as u32, Ordering::Relaxed);
        self.status.shared().most_sessions.fetch_max(open as u64, Ordering::Relaxed);
    }

    /// Counts a call in; the second value is whether another one was inside.
    pub fn enter(&self, function: Function) -> (Inside<'_>, bool) {
        let shared = self.status.shared();
        let counts = &shared.functions[function as usize];
        counts.calls.fetch_add(1, Ordering::Relaxed);
        let process = self.process();
        let of = process.inside_of[function as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let all = process.inside.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most_inside.fetch_max(u64::from(of), Ordering::Relaxed);
        shared.most_inside.fetch_max(u64::from(all), Ordering::Relaxed);
        if all > 1 {
            shared.overlaps.fetch_add(1, Ordering::Relaxed);
        }
        (Inside { process, function }, all > 1)
    }
}

/// A call that isn't over.
pub struct Inside<'a> {
    process: &'a PerProcess,
    function: Function,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.process.inside_of[self.function as usize].fetch_sub(1, Ordering::Relaxed);
        self.process.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic elsewhere leaves nothing half done here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    Some((metadata.modified().ok()?, metadata.len(), inode))
}
