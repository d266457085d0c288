//! How a fleet starts: what can't be right is refused, then its threads begin.

use super::{Fleet, Inner};
use crate::hsm::{Hsm, Watch, supervise};
use crate::ivs::Ivs;
use crate::settings::{FleetSettings, HsmSettings};
use crate::shared_file::make_folder;
use crate::uses::Uses;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock};
use std::thread;
use std::time::Duration;

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
    /// No thread could be started.
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
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
            make_folder(path).map_err(|source| StartError::Folder { path: path.clone(), source })?;
        }
        let uses = Uses::open(settings.state_folder.join("uses"), settings.warn_after, settings.refuse_after);
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
            troubles: Mutex::default(),
            told_of_dates: AtomicBool::new(false),
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
}
