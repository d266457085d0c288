//! The module in a worker process: operations go there and back as messages.

use super::{Connected, Hsm};
use crate::fault::Fault;
use crate::lane::inside::Assigned;
use crate::messages::{Start, decode_end, decode_started, encode_work};
use crate::packet::{LONGEST, Packets};
use crate::settings::WorkerCommand;
use holdfast_secret::Secret;
use std::cell::RefCell;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// The variables of the host that a worker process gets; modules need theirs named in the settings.
const PASSED_ON: [&str; 8] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "RUST_BACKTRACE"];

/// A module's worker process, when there is one.
pub(crate) struct Process {
    command: WorkerCommand,
    link: RwLock<Option<Arc<Link>>>,
}

struct Link {
    socket: Packets,
    is_ending: AtomicBool,
    child: Mutex<Child>,
}

thread_local! {
    static OUT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(4096));
}

impl Link {
    /// Ends the process, and says whether this was the first time. It is reaped by the thread that reads from it.
    fn end(&self) -> bool {
        let is_first = !self.is_ending.swap(true, Ordering::AcqRel);
        self.socket.shut_down();
        // It may have ended already.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        is_first
    }

    /// Waits for the process to be gone, and says how it went.
    fn reap(&self) -> String {
        loop {
            // The lock isn't held meanwhile: a process may be stuck in the kernel.
            match self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => {}
                Err(error) => return error.to_string(),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Process {
    pub(super) fn new(command: WorkerCommand) -> Process {
        Process { command, link: RwLock::new(None) }
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the process, if there is one. What was inside fails.
    pub(super) fn end(&self, hsm: &Hsm, fault: &Fault) {
        let link = self.link.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(link) = link {
            link.end();
            hsm.lane.abandon(fault);
        }
    }

    /// A call hangs: the process is killed; false if it was already. The thread that reads from it sees to the rest.
    pub(super) fn kill(&self) -> bool {
        self.link().is_some_and(|link| link.end())
    }

    /// Starts a process in place of the one there was, and has it connect.
    pub(super) fn connect(&self, hsm: &Arc<Hsm>, pin: Secret, proven: bool) -> Result<Connected, Fault> {
        self.end(hsm, &Fault::Lost("the worker process is started anew".into()));
        let lost = |error: io::Error| Fault::Lost(format!("the worker process can't be started: {error}"));
        let (socket, theirs) = Packets::pair().map_err(lost)?;
        let child = Command::new(&self.command.program)
            .arg0(&self.command.name)
            .args(&self.command.arguments)
            // The host's own variables may hold secrets: passphrases, the PINs of other HSMs.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| PASSED_ON.iter().any(|passed| name == passed)))
            .envs(hsm.settings.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A terminal's Ctrl-C is for the host, which ends its workers when they are done.
            .process_group(0)
            .spawn()
            .map_err(lost)?;
        let link = Arc::new(Link { socket, is_ending: AtomicBool::new(false), child: Mutex::new(child) });
        let result = start(hsm, &link, pin, proven);
        let info = match result {
            Ok(info) => info,
            Err(fault) => {
                link.end();
                reap_later(link);
                return Err(fault);
            }
        };
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        let reader = Arc::clone(hsm);
        let name = format!("{} answers", hsm.settings.name);
        let reading = Arc::clone(&link);
        if let Err(error) = thread::Builder::new().name(name).spawn(move || read(&reader, &reading)) {
            self.end(hsm, &Fault::Lost(error.to_string()));
            reap_later(link);
            return Err(lost(error));
        }
        hsm.lane.open(hsm.sessions(&info));
        Ok(Connected { info })
    }

    /// Sends what waits, as long as sessions are free.
    pub(super) fn pump(&self, hsm: &Hsm) {
        let Some(link) = self.link() else { return };
        while let Some(Assigned { place, generation, few, call }) = hsm.lane.assign() {
            let sent = OUT.with_borrow_mut(|out| {
                // Places are at most 1024.
                encode_work(out, (place as u32, generation), few, &call.work);
                let sent = if out.len() > LONGEST {
                    Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
                } else {
                    link.socket.send(out, false)
                };
                // Not the whole capacity, which one long message makes large.
                out.as_mut_slice().zeroize();
                sent
            });
            match sent {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    hsm.lane.release(place, generation, Duration::ZERO);
                    call.finish(Err(Fault::TooLong));
                }
                Err(_) => {
                    // No room, or the process is gone: the next answer, the watch or the end of the process see to it.
                    hsm.lane.unassign(place, generation);
                    return;
                }
            }
        }
    }

    fn is_current(&self, link: &Arc<Link>) -> bool {
        self.link().is_some_and(|current| Arc::ptr_eq(&current, link))
    }
}

/// Sends the settings and waits for the token's description.
fn start(hsm: &Hsm, link: &Link, pin: Secret, proven: bool) -> Result<crate::module::TokenInfo, Fault> {
    let lost = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => Fault::Lost("the module hangs while it connects".into()),
        _ => Fault::Lost(format!("the worker process can't be reached: {error}")),
    };
    // At most 1024.
    let sessions = hsm.settings.sessions as u32;
    let message = Start { settings: hsm.token_settings(), sessions, pin, proven }.encode();
    link.socket.send(&message, true).map_err(lost)?;
    link.socket.set_patience(Some(hsm.settings.connect_time)).map_err(lost)?;
    let mut buffer = vec![0; LONGEST];
    let answer = link.socket.receive(&mut buffer).map_err(lost)?;
    if answer.is_empty() {
        return Err(Fault::Lost(format!(
            "the worker process ended while the module connected: {}",
            link.reap()
        )));
    }
    link.socket.set_patience(None).map_err(lost)?;
    decode_started(answer).map_err(|error| Fault::Lost(error.to_string()))?
}

/// A process that is told to end is waited for elsewhere.
fn reap_later(link: Arc<Link>) {
    // Without a thread it stays a zombie until the proxy ends, and takes nothing.
    let _ = thread::Builder::new().name("hsm reaper".into()).spawn(move || link.reap());
}

/// Takes answers until the process is gone.
fn read(hsm: &Arc<Hsm>, link: &Arc<Link>) {
    let super::Transport::Process(process) = &hsm.transport else { return };
    let mut buffer = Zeroizing::new(vec![0; LONGEST]);
    while let Ok(message) = link.socket.receive(&mut buffer) {
        // An empty message is the end; one that can't be read is not from our worker.
        let Ok(((place, generation), took, result)) = decode_end(message) else { break };
        message.zeroize();
        if let Some(call) = hsm.lane.release(place as usize, generation, Duration::from_micros(took.into())) {
            call.finish(result);
        }
        process.pump(hsm);
    }
    link.end();
    let status = link.reap();
    if process.is_current(link) {
        let fault = Fault::Lost(format!("the worker process ended: {status}"));
        hsm.lost.store(true, Ordering::Release);
        process.end(hsm, &fault);
        hsm.trip(&fault.to_string());
    }
}
