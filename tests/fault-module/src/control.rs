//! Commands to a fault module, and what it counts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crate::functions::Function;
use crate::rules::Rules;
pub use crate::rules::{Crash, Form, GcmParams, IvFault, When};
use crate::settings::{Settings, beside};
use crate::status::{HITS, Status};

/// Why a fault module can't be made or commanded.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// A file could not be written or copied.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A command that the control file has no words for, such as an unknown function or CKR code.
    #[error("not a command: {0}")]
    Command(String),
    /// There is room for 256 rules.
    #[error("more rules than the status file has counters for")]
    TooManyRules,
}

/// A fault module of its own: a copy of the library with its files beside it. Different ones don't share state, not even in one process.
///
/// Each command concerns all calls that begin after it returned. Commands panic when the control file can't be
/// written or a function or CKR code doesn't exist: they are for tests.
pub struct Faults {
    module: PathBuf,
    control: PathBuf,
    settings: Settings,
    status: Status,
    commands: Mutex<Commands>,
}

#[derive(Default)]
struct Commands {
    rules: Vec<(usize, String, When)>,
    next_slot: usize,
    removed: Option<String>,
    insertion: u64,
    settings: Vec<(&'static str, String)>,
}

/// A rule that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it is needed to lift the rule or to read how often it applied; `let _ =` otherwise"]
pub struct Rule {
    slot: usize,
    when: When,
}

impl Faults {
    /// Copies the fault module `library` to `folder` and makes it pass calls on to `real`. The `environment` is set while the
    /// real module initialises, such as `SOFTHSM2_CONF`. To have modules in one process that share nothing, copy the real one too.
    pub fn install(
        folder: &Path,
        library: &Path,
        real: &Path,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, FaultsError> {
        let module = folder.join("libfaults.so");
        let (control, status) = (folder.join("faults.control"), folder.join("faults.status"));
        let settings = Settings {
            real: real.to_owned(),
            control: Some(control.clone()),
            status: Some(status.clone()),
            environment: environment.to_vec(),
        };
        std::fs::copy(library, &module).map_err(file(library))?;
        std::fs::write(beside(&module), settings.text()).map_err(file(&module))?;
        std::fs::write(&control, "").map_err(file(&control))?;
        let opened = Status::open(&status).map_err(file(&status))?;
        Ok(Self { module, control, settings, status: opened, commands: Mutex::default() })
    }

    /// What to load.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What it passes calls on to.
    pub fn real(&self) -> &Path {
        &self.settings.real
    }

    /// Calls take so much longer. `functions` is one name, several with commas between, or `*`.
    pub fn delay(&self, functions: &str, time: Duration) -> Rule {
        self.rule(format!("{functions} delay {}", time.as_secs_f64() * 1000.0), When::Always)
    }

    /// Calls return `code`, such as `CKR_DEVICE_ERROR` or `0x80000001`, and do nothing else than ending the session's operation.
    pub fn fail(&self, functions: &str, code: &str, when: When) -> Rule {
        self.rule(format!("{functions} fail {code}"), when)
    }

    /// Calls succeed, with a bit flipped in what they give.
    pub fn garble(&self, functions: &str, when: When) -> Rule {
        self.rule(format!("{functions} garble"), when)
    }

    /// Calls return when the rule is lifted, with what the real module then says.
    pub fn hang(&self, functions: &str, when: When) -> Rule {
        self.rule(format!("{functions} hang"), when)
    }

    /// A call ends the process.
    pub fn crash(&self, functions: &str, how: Crash, when: When) -> Rule {
        let how = match how {
            Crash::Abort => "abort",
            Crash::Segfault => "segfault",
            Crash::Exit => "exit",
        };
        self.rule(format!("{functions} crash {how}"), when)
    }

    /// Takes a rule back; calls that hang by it go on.
    pub fn lift(&self, rule: Rule) {
        self.change(|commands| commands.rules.retain(|(slot, ..)| *slot != rule.slot));
    }

    /// Takes everything back.
    pub fn clear(&self) {
        self.change(|commands| {
            commands.rules.clear();
            commands.settings.clear();
            if commands.removed.take().is_some() {
                commands.insertion += 1;
            }
        });
    }

    /// Pulls the token: no slots, calls with a session return CKR_DEVICE_REMOVED, those with a slot CKR_TOKEN_NOT_PRESENT.
    pub fn remove_token(&self) {
        self.remove_token_with("CKR_DEVICE_REMOVED");
    }

    /// Pulls the token, with another code for calls with a session.
    pub fn remove_token_with(&self, code: &str) {
        self.change(|commands| commands.removed = Some(code.to_owned()));
    }

    /// Puts the token in again, with all sessions closed and nobody logged in. Without a removal before, it was out for a moment.
    pub fn insert_token(&self) {
        self.change(|commands| {
            commands.removed = None;
            commands.insertion += 1;
        });
    }

    /// C_OpenSession returns CKR_SESSION_COUNT when so many are open, of all processes together.
    pub fn session_limit(&self, limit: Option<u64>) {
        self.set("sessions", limit.map(|limit| format!("sessions {limit}")));
    }

    /// A call during another one in the same process returns CKR_GENERAL_ERROR. [`Faults::overlaps`] counts them in any case.
    pub fn exclusive(&self, exclusive: bool) {
        self.set("exclusive", exclusive.then(|| "exclusive".into()));
    }

    /// Keys have no CKA_CHECK_VALUE.
    pub fn no_check_values(&self) {
        self.set("no-check-values", Some("no-check-values".into()));
    }

    /// What is wrong with IVs that the HSM makes (vendors' forms, and the message functions).
    pub fn iv(&self, fault: Option<IvFault>) {
        let line = fault.map(|fault| match fault {
            IvFault::Zero => "iv zero".into(),
            IvFault::Repeat => "iv repeat".into(),
            IvFault::Own => "iv own".into(),
        });
        self.set("iv", line);
    }

    /// Which vendor's GCM. [`Form::Message`] must be set before the module is loaded: it adds functions.
    pub fn form(&self, form: Option<Form>) {
        let line = form.map(|form| match form {
            Form::IvInParams => "form iv-in-params".into(),
            Form::IvBefore => "form iv-before".into(),
            Form::IvAfter => "form iv-after".into(),
            Form::Message => "form message".into(),
        });
        self.set("form", line);
    }

    /// Which `CK_GCM_PARAMS` the module insists on.
    pub fn gcm_params(&self, variant: Option<GcmParams>) {
        let line = variant.map(|variant| match variant {
            GcmParams::Short => "gcm-params short".into(),
            GcmParams::IvBits => "gcm-params iv-bits".into(),
            GcmParams::NoIvBits => "gcm-params no-iv-bits".into(),
        });
        self.set("gcm-params", line);
    }

    /// Flags to put on the token's own, such as CKF_USER_PIN_FINAL_TRY (0x20000) or CKF_USER_PIN_LOCKED (0x40000).
    pub fn token_flags(&self, flags: u64) {
        self.set("token-flags", (flags != 0).then(|| format!("token-flags 0x{flags:x}")));
    }

    /// How many calls of the function began, of all processes since the module was installed.
    pub fn calls(&self, function: Function) -> u64 {
        read(&self.status.shared().functions[function as usize].calls)
    }

    /// How many of them returned something else than CKR_OK.
    pub fn failures(&self, function: Function) -> u64 {
        read(&self.status.shared().functions[function as usize].failures)
    }

    /// How many calls of the function are inside now, delayed and hanging ones too; of all processes that live.
    pub fn inside(&self, function: Function) -> u64 {
        self.status.sum(|process| process.inside_of[function as usize].load(Ordering::Relaxed))
    }

    /// The most calls of the function that were inside at once, in one process.
    pub fn most_inside(&self, function: Function) -> u64 {
        read(&self.status.shared().functions[function as usize].most_inside)
    }

    /// The most calls of any functions that were inside at once, in one process.
    pub fn most_inside_at_once(&self) -> u64 {
        read(&self.status.shared().most_inside)
    }

    /// How many calls began while another one was inside in the same process.
    pub fn overlaps(&self) -> u64 {
        read(&self.status.shared().overlaps)
    }

    /// Open sessions of all processes that live.
    pub fn sessions(&self) -> u64 {
        self.status.sum(|process| process.sessions.load(Ordering::Relaxed))
    }

    /// The most sessions that were open at once, in one process.
    pub fn most_sessions(&self) -> u64 {
        read(&self.status.shared().most_sessions)
    }

    /// The processes that live and have, or had, the module open.
    pub fn processes(&self) -> Vec<u32> {
        self.status.alive()
    }

    /// How many calls the rule concerned.
    pub fn hits(&self, rule: Rule) -> u64 {
        rule.when.included_of(read(&self.status.shared().hits[rule.slot]))
    }

    fn rule(&self, line: String, when: When) -> Rule {
        let mut slot = 0;
        self.change_or(|commands| {
            let used = |slot: &usize| commands.rules.iter().any(|(other, ..)| other == slot);
            let mut slots = (0..HITS).map(|step| (commands.next_slot + step) % HITS);
            slot = slots.find(|slot| !used(slot)).ok_or(FaultsError::TooManyRules)?;
            commands.next_slot = slot + 1;
            self.status.shared().hits[slot].store(0, Ordering::Relaxed);
            commands.rules.push((slot, line, when));
            Ok(())
        });
        Rule { slot, when }
    }

    fn set(&self, name: &'static str, line: Option<String>) {
        self.change(|commands| {
            commands.settings.retain(|(other, _)| *other != name);
            commands.settings.extend(line.map(|line| (name, line)));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Commands)) {
        self.change_or(|commands| {
            change(commands);
            Ok(())
        });
    }

    #[allow(clippy::panic, reason = "for tests, as said")]
    fn change_or(&self, change: impl FnOnce(&mut Commands) -> Result<(), FaultsError>) {
        let mut commands: MutexGuard<'_, Commands> =
            self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = change(&mut commands).and_then(|()| self.write(&commands)) {
            panic!("{error}");
        }
    }

    /// Replaces the control file as one, and tells the module.
    fn write(&self, commands: &Commands) -> Result<(), FaultsError> {
        let text = commands.text();
        Rules::parse(&text).map_err(FaultsError::Command)?;
        let unfinished = self.control.with_extension("control.new");
        std::fs::write(&unfinished, text).map_err(file(&unfinished))?;
        std::fs::rename(&unfinished, &self.control).map_err(file(&self.control))?;
        self.status.announce();
        Ok(())
    }
}

impl Commands {
    fn text(&self) -> String {
        let mut text = format!("token present {}\n", self.insertion);
        if let Some(code) = &self.removed {
            text += &format!("token removed {code}\n");
        }
        for (_, line) in &self.settings {
            text += &format!("{line}\n");
        }
        for (slot, line, when) in &self.rules {
            let when = match when {
                When::Always => String::new(),
                When::Next(count) => format!(" next {count}"),
                When::Every(count) => format!(" every {count}"),
            };
            text += &format!("@{slot} {line}{when}\n");
        }
        text
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> FaultsError {
    let path = path.to_owned();
    move |source| FaultsError::File { path, source }
}
