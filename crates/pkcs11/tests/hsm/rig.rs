//! A fleet on tokens of its own.

use holdfast_pkcs11::{
    BackendError, Encrypted, Fleet, FleetSettings, HsmSettings, Isolation, Status, TokenSelector,
    WorkerCommand, wait,
};
use holdfast_secret::Secret;
use holdfast_test_tokens::{Faults, Token};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Tells a test program that it is a worker process.
pub const WORKER: &str = "HOLDFAST_TEST_WORKER";
pub const THREADS: Isolation = Isolation::Threads { replaced_at_most: 2 };
pub const BOTH: [Isolation; 2] = [THREADS, Isolation::Process];
pub const AAD: &[u8] = b"aad";
pub const TEXT: &[u8] = b"thirty-two bytes of plain text..";
pub const BUDGET: Duration = Duration::from_millis(250);
/// For what comes for sure, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One HSM of a rig.
pub struct Part {
    pub token: Token,
    pub faults: Faults,
    pub pin: Arc<Mutex<String>>,
}

impl Part {
    pub fn new(token: Token) -> Part {
        import_key(&token, "demo");
        let faults = token.faults();
        let pin = Arc::new(Mutex::new(token.pin()));
        Part { token, faults, pin }
    }

    pub fn settings(&self, isolation: Isolation) -> HsmSettings {
        let pin = Arc::clone(&self.pin);
        let pin = Arc::new(move || Ok(Secret::copy_from(pin.lock().unwrap().as_bytes())));
        let token = TokenSelector::Label(self.token.label().to_owned());
        HsmSettings {
            isolation,
            sessions: 4,
            queue: 16,
            create_test_key: true,
            environment: vec![(WORKER.to_owned(), "1".to_owned())],
            hang_time: Duration::from_millis(600),
            ..HsmSettings::new(self.token.label(), self.faults.module(), token, pin)
        }
    }
}

/// The same key on every token.
pub fn import_key(token: &Token, label: &str) {
    token.import_key(label, [0x42; 32], true, true);
}

pub fn worker() -> WorkerCommand {
    WorkerCommand::own(&["--exact", "worker_process", "--ignored", "--nocapture"])
}

/// A fleet and its tokens.
pub struct Rig {
    // First, so that its threads and processes end before the tokens go.
    pub fleet: Fleet,
    pub parts: Vec<Part>,
    pub state: tempfile::TempDir,
}

impl Rig {
    /// A fleet that serves, on SoftHSM2 tokens with these labels. None where SoftHSM2 isn't installed.
    pub fn new(labels: &[&str], isolation: Isolation) -> Option<Rig> {
        Rig::with(labels, isolation, |_, _| ())
    }

    pub fn with(
        labels: &[&str],
        isolation: Isolation,
        change: impl FnOnce(&[Part], &mut FleetSettings),
    ) -> Option<Rig> {
        let tokens: Option<Vec<_>> = labels.iter().map(|label| Token::softhsm2(label)).collect();
        let rig = Rig::start(tokens?.into_iter().map(Part::new).collect(), isolation, change);
        assert!(
            rig.until(|rig| rig.fleet.health().iter().all(|health| health.status == Status::Active)),
            "{:?}",
            rig.fleet.health()
        );
        Some(rig)
    }

    /// A fleet that needn't serve.
    pub fn start(
        parts: Vec<Part>,
        isolation: Isolation,
        change: impl FnOnce(&[Part], &mut FleetSettings),
    ) -> Rig {
        let state = tempfile::tempdir().unwrap();
        let fleet = start_fleet(&parts, isolation, state.path(), change);
        Rig { fleet, parts, state }
    }

    pub fn until(&self, condition: impl Fn(&Rig) -> bool) -> bool {
        self.fleet.wait_until(PATIENCE, |_| condition(self))
    }

    #[track_caller]
    pub fn until_active(&self) {
        let active = |rig: &Rig| {
            rig.fleet.health().iter().all(|health| health.status == Status::Active) && rig.fleet.can_serve()
        };
        assert!(self.until(active), "{:?}", self.fleet.health());
    }

    /// Whether the first HSM is active, or only slow because the machine is.
    pub fn serves(&self) -> bool {
        match self.status() {
            Status::Active => true,
            Status::Degraded(why) => why.contains("150 ms"),
            Status::Unavailable(_) => false,
        }
    }

    pub fn encrypt(&self) -> Result<Encrypted, BackendError> {
        encrypt(&self.fleet, "demo")
    }

    pub fn decrypt(&self, made: &Encrypted) -> Result<Vec<u8>, BackendError> {
        decrypt(&self.fleet, "demo", made)
    }

    pub fn faults(&self) -> &Faults {
        &self.parts[0].faults
    }

    pub fn status(&self) -> Status {
        self.fleet.health().remove(0).status
    }
}

pub fn start_fleet(
    parts: &[Part],
    isolation: Isolation,
    state: &Path,
    change: impl FnOnce(&[Part], &mut FleetSettings),
) -> Fleet {
    let hsms = parts.iter().map(|part| part.settings(isolation)).collect();
    let mut settings = FleetSettings { worker: worker(), ..FleetSettings::new(hsms, state) };
    change(parts, &mut settings);
    Fleet::start(settings).unwrap()
}

pub fn frame(aad: &[u8], metadata: &[u8]) -> Vec<u8> {
    let aad_len = u16::try_from(aad.len()).unwrap().to_be_bytes();
    [&aad_len, aad, &[u8::try_from(metadata.len()).unwrap()], metadata].concat()
}

pub fn encrypt(fleet: &Fleet, key: &str) -> Result<Encrypted, BackendError> {
    wait(fleet.encrypt(key, TEXT, |metadata| frame(AAD, metadata), false, Instant::now() + BUDGET))
}

pub fn decrypt(fleet: &Fleet, key: &str, made: &Encrypted) -> Result<Vec<u8>, BackendError> {
    let framed = frame(AAD, &made.metadata);
    let decrypted = wait(fleet.decrypt(key, made.sealed(), AAD, &framed, Instant::now() + BUDGET))?;
    Ok(decrypted.plaintext.to_vec())
}

/// Tries until it succeeds: a busy machine may not keep the budget.
#[track_caller]
pub fn eventually<T>(mut act: impl FnMut() -> Result<T, BackendError>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match act() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
