//! The time by which components are interrupted: a thread that moves every engine's epoch while anything runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::{Engine, EngineWeak};

/// How often a running component yields to other work.
const TICK: Duration = Duration::from_millis(1);
/// After so many ticks without a new instance (more than any of them may take) the thread sleeps until there is one.
const IDLE_TICKS: u32 = 20_000;

/// A handle to the ticking thread, which ends with its last handle's engines.
#[derive(Clone)]
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    instances: AtomicU64,
    asleep: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Ticker> {
        Ticker::start_that_sleeps_after(IDLE_TICKS)
    }

    /// Starts one that never sleeps: for commands, where nobody says that an instance starts.
    pub fn start_sleepless() -> std::io::Result<Ticker> {
        Ticker::start_that_sleeps_after(u32::MAX)
    }

    /// Starts one that sleeps after so many ticks.
    pub fn start_that_sleeps_after(idle_ticks: u32) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            engines: Mutex::new(Vec::new()),
            instances: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&shared);
        let join = thread::Builder::new().name("ticker".into()).spawn(move || {
            let (mut seen, mut idle) = (0, 0_u32);
            loop {
                thread::sleep(TICK);
                let Some(shared) = weak.upgrade() else { return };
                shared.tick();
                let instances = shared.instances.load(Ordering::Relaxed);
                idle = if instances == seen { idle.saturating_add(1) } else { 0 };
                seen = instances;
                if idle >= idle_ticks {
                    shared.asleep.store(true, Ordering::SeqCst);
                    // An instance that came between the two loads has unparked us, or is seen here.
                    if shared.instances.load(Ordering::SeqCst) == seen {
                        drop(shared);
                        thread::park();
                    }
                    idle = 0;
                }
            }
        })?;
        Ok(Ticker { shared, thread: join.thread().clone() })
    }

    /// Ticks `engine` from now on.
    pub fn add(&self, engine: &Engine) {
        self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }

    /// Says that an instance starts.
    pub fn awake(&self) {
        self.shared.instances.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // A sleeping thread looks whether anybody is left.
        self.thread.unpark();
    }
}

impl Shared {
    fn tick(&self) {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|engine| match engine.upgrade() {
            Some(engine) => {
                engine.increment_epoch();
                true
            }
            None => false,
        });
    }
}
