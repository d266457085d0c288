//! A worker process: it has a module, and does what the host sends until the host is gone.

use receivers::Receivers;

use crate::executor::Executor;
use crate::fault::Fault;
use crate::lane::pace::quick_in_a_process;
use crate::messages::{Start, decode_work, encode_end, encode_started};
use crate::packet::{LONGEST, Packets};
use crate::token::Token;
use holdfast_secret::harden_process;
use std::os::fd::AsFd;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

mod receivers;

/// After this a session that the token didn't allow is tried for again.
const REST: Duration = Duration::from_secs(2);
/// For so long the thread that reports what goes wrong leaves the others time to come before it.
const OTHERS_FIRST: Duration = Duration::from_millis(100);

/// Why a worker process ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It couldn't be protected.
    #[error("{0}")]
    Harden(#[from] holdfast_secret::HardenError),
    /// Its standard input isn't the host's socket.
    #[error("this command is started by holdfast itself: {0}")]
    Socket(#[from] std::io::Error),
    /// The host sent something else than what was expected.
    #[error("{0}")]
    Malformed(#[from] crate::wire::Malformed),
    /// The host is gone.
    #[error("the host is gone")]
    Orphan,
}

/// The whole life of a worker process. Standard input is the host's socket. The process has no core dumps, can't be
/// looked into by others of its user, and ends with the host.
pub fn run() -> Result<(), WorkerError> {
    harden_process()?;
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers only. The end of the socket is seen as well, so a failure is no harm.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
    };
    // The host ends this process when its last requests are done; a stop that is told to all processes is the host's to heed.
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: ignoring a signal runs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let socket = Arc::new(Packets::from_fd(std::io::stdin().as_fd().try_clone_to_owned()?));
    let mut buffer = Zeroizing::new(vec![0; LONGEST]);
    let message = socket.receive(&mut buffer)?;
    if message.is_empty() {
        return Err(WorkerError::Orphan);
    }
    let start = Start::decode(message)?;
    buffer.zeroize();
    let Start { settings, sessions, pin, proven } = start;
    let connected =
        Token::new(settings).and_then(|token| token.connect(pin, proven, true).map(|info| (token, info)));
    let (token, info) = match connected {
        Ok(connected) => connected,
        Err(fault) => return Ok(socket.send(&encode_started(&Err(fault)), true)?),
    };
    let allowed = info.session_limit.map_or(usize::MAX, |limit| limit.saturating_sub(1));
    let sessions = usize::try_from(sessions).unwrap_or(1).min(allowed).max(1);
    socket.send(&encode_started(&Ok(info)), true)?;
    let token = Arc::new(token);
    let receivers = Arc::new(Receivers::new(quick_in_a_process()));
    if sessions > quick_in_a_process() {
        receivers.watch()?;
    }
    for number in 1..sessions {
        let (socket, token, receivers) = (Arc::clone(&socket), Arc::clone(&token), Arc::clone(&receivers));
        let name = format!("session {number}");
        thread::Builder::new().name(name).spawn(move || serve(&socket, token, &receivers, number))?;
    }
    serve(&socket, token, &receivers, 0)
}

/// Does what comes, one operation at a time. Ends the process when the host is gone.
fn serve(socket: &Packets, token: Arc<Token>, receivers: &Receivers, number: usize) -> ! {
    let mut executor = Executor::new(token);
    let mut buffer = Zeroizing::new(vec![0; LONGEST]);
    let mut out = Zeroizing::new(Vec::with_capacity(4096));
    if number == 0 && !executor.open() {
        // Those that have a session come first.
        thread::sleep(OTHERS_FIRST);
    }
    let (mut place, mut has_session) = (None, false);
    loop {
        // Without a session it would fail what others can do. Only while nobody has one the first says what goes wrong.
        while receivers.note(&mut has_session, executor.open()) && (number > 0 || receivers.have_session()) {
            thread::sleep(if number == 0 { OTHERS_FIRST } else { REST });
        }
        receivers.turn(*place.get_or_insert_with(|| receivers.join()));
        let message = match receivers.receive(|| socket.receive(&mut buffer)) {
            Ok([]) | Err(_) => exit(0),
            Ok(message) => message,
        };
        let Ok((id, few, work)) = decode_work(message) else { exit(1) };
        message.zeroize();
        receivers.few_are_enough(few);
        let begun = Instant::now();
        let result = executor.run(&work);
        receivers.end();
        let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        encode_end(&mut out, id, took, &result);
        if out.len() > LONGEST {
            encode_end(&mut out, id, took, &Err(Fault::Form("more than a message holds".into())));
        }
        if socket.send(&out, true).is_err() {
            exit(0);
        }
        // Not the whole capacity, which one long message makes large.
        out.as_mut_slice().zeroize();
    }
}
