//! The module in threads of this process.

use super::{Connected, Hsm};
use crate::executor::Executor;
use crate::fault::Fault;
use crate::lane::inside::Next;
use crate::module::TokenInfo;
use crate::token::Token;
use holdfast_secret::Secret;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// For how long a worker rests that could get no session.
const REST: Duration = Duration::from_secs(2);

type Outcome = Result<(Arc<Token>, TokenInfo), Fault>;

/// Workers that call the module.
#[derive(Default)]
pub(crate) struct Threads {
    token: OnceLock<Arc<Token>>,
    /// A connecting that didn't end in time.
    hanging: Mutex<Option<Receiver<Outcome>>>,
    started: AtomicUsize,
}

impl Threads {
    /// Connects on a thread of its own, since that may hang too, and starts the workers.
    pub(super) fn connect(&self, hsm: &Arc<Hsm>, pin: Secret, proven: bool) -> Result<Connected, Fault> {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = hanging.take()
            && matches!(before.try_recv(), Err(TryRecvError::Empty))
        {
            *hanging = Some(before);
            return Err(Fault::Lost("the module hangs while it connects".into()));
        }
        let (sender, receiver) = channel();
        let token = self.token.get().cloned();
        let settings = hsm.token_settings();
        let may_restart = hsm.lane.is_quiet();
        let connect = move || {
            let outcome = token.map_or_else(|| Token::new(settings).map(Arc::new), Ok).and_then(|token| {
                let info = token.connect(pin, proven, may_restart)?;
                Ok((token, info))
            });
            // Nobody waits any more if this took too long.
            let _ = sender.send(outcome);
        };
        let name = format!("{} connect", hsm.settings.name);
        thread::Builder::new().name(name).spawn(connect).map_err(|error| Fault::Lost(error.to_string()))?;
        let (token, info) = match receiver.recv_timeout(hsm.settings.connect_time) {
            Ok(outcome) => outcome?,
            Err(RecvTimeoutError::Timeout) => {
                *hanging = Some(receiver);
                return Err(Fault::Lost("the module hangs while it connects".into()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Fault::Lost("connecting ended abruptly".into()));
            }
        };
        let token = Arc::clone(self.token.get_or_init(|| token));
        // The workers stay; what another token would allow is not asked.
        let started = self.started.load(Ordering::Acquire);
        let sessions = if started == 0 { hsm.sessions(&info) } else { started };
        hsm.lane.open(sessions);
        for place in started..sessions {
            start(hsm, Arc::clone(&token), place, hsm.lane.generation(place))?;
            self.started.store(place + 1, Ordering::Release);
        }
        Ok(Connected { info })
    }

    /// Replaces the thread of a hung call.
    pub(super) fn replace(&self, hsm: &Arc<Hsm>, place: usize) -> Result<(), Fault> {
        let Some(token) = self.token.get() else { return Ok(()) };
        let generation = hsm.lane.write_off(place);
        start(hsm, Arc::clone(token), place, generation)
    }
}

fn start(hsm: &Arc<Hsm>, token: Arc<Token>, place: usize, generation: u64) -> Result<(), Fault> {
    let name = format!("{} {place}", hsm.settings.name);
    let hsm = Arc::clone(hsm);
    let run = move || work(&hsm, token, place, generation);
    thread::Builder::new().name(name).spawn(run).map(|_| ()).map_err(|error| Fault::Lost(error.to_string()))
}

/// A worker: takes calls until it is told to leave.
fn work(hsm: &Hsm, token: Arc<Token>, place: usize, generation: u64) {
    let mut executor = Executor::new(token);
    hsm.lane.attach(place, generation);
    loop {
        match hsm.lane.next(place, generation) {
            Next::Run(call) if !executor.open() => {
                // The others have sessions, so one of them takes it.
                hsm.lane.put_back(place, generation, call);
                thread::park_timeout(REST);
            }
            Next::Run(call) => {
                let result = executor.run(&call.work);
                call.finish(result);
            }
            Next::Park if hsm.is_stopping() => return,
            Next::Park => thread::park(),
            Next::Leave => {
                // Its session is closed first: once the lane is quiet the module may be finalised.
                drop(executor);
                return hsm.lane.left();
            }
        }
    }
}
