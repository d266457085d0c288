//! One thread that ends calls whose time is over and finds those that hang, in all HSMs of a fleet.

use super::Hsm;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

/// How exact deadlines are.
const TICK: Duration = Duration::from_millis(4);
/// After so many ticks with nothing under way it sleeps until there is something.
const IDLE_TICKS: u32 = 250;

#[derive(Default)]
pub(crate) struct Watch {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Watch {
    /// Called with every call that begins.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Starts the thread. It ends when the fleet is gone.
    pub(crate) fn start(self: &Arc<Self>, hsms: Vec<Weak<Hsm>>) -> std::io::Result<()> {
        let watch = Arc::clone(self);
        let handle = thread::Builder::new().name("hsm watch".into()).spawn(move || watch.run(&hsms))?;
        // It was empty: this is called once.
        let _ = self.thread.set(handle.thread().clone());
        Ok(())
    }

    fn run(&self, hsms: &[Weak<Hsm>]) {
        let mut idle = 0;
        loop {
            // Said before the look: a call that comes after that is seen to wake.
            let is_drowsy = idle > IDLE_TICKS;
            self.asleep.store(is_drowsy, Ordering::SeqCst);
            let mut is_empty = true;
            let mut is_alive = false;
            for hsm in hsms.iter().filter_map(Weak::upgrade) {
                is_alive |= !hsm.is_stopping();
                let found = hsm.lane.watch(hsm.settings.hang_time);
                is_empty &= found.is_empty;
                for thread in found.wake {
                    thread.unpark();
                }
                if !found.is_empty {
                    hsm.move_on();
                }
                for place in found.hung {
                    hsm.hangs(place);
                }
            }
            if !is_alive {
                return;
            }
            idle = if is_empty { idle + 1 } else { 0 };
            if is_drowsy && is_empty {
                thread::park_timeout(Duration::from_secs(1));
                idle = 0;
            } else {
                thread::sleep(TICK);
            }
        }
    }
}
