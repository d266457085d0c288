//! `[[hsm]]`: an HSM by PKCS#11.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_pkcs11::{HsmSettings, Isolation, Quirks, TokenSelector};

use super::quirks::quirks;
use super::reader::{Entry, Section};
use super::secret::{PinSource, credential, pin_source, variable};
use super::units::{self, text};

/// One `[[hsm]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hsm {
    /// What it is called in `[[key_store]]`, in the audit log and in health.
    pub name: String,
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// Which token of the module.
    pub token: TokenSelector,
    /// Where the user's PIN comes from.
    pub pin: PinSource,
    /// Calls at once.
    pub sessions: usize,
    /// Operations that wait for a session.
    pub queue: usize,
    /// Where the module's code runs.
    pub isolation: Isolation,
    /// In what it differs.
    pub quirks: Quirks,
    /// The label of the key that health checks use.
    pub test_key: String,
    /// Whether the test key is made where it isn't there.
    pub create_test_key: bool,
    /// Variables for the module, such as its configuration file; in a worker process only.
    pub environment: Vec<(String, String)>,
    /// After which a call counts as hung.
    pub hang_time: Duration,
    /// For how long connecting may take.
    pub connect_time: Duration,
}

impl Hsm {
    /// As the fleet takes it.
    pub fn settings(&self) -> HsmSettings {
        HsmSettings {
            sessions: self.sessions,
            queue: self.queue,
            isolation: self.isolation,
            quirks: self.quirks,
            test_key: Some(self.test_key.clone()),
            create_test_key: self.create_test_key,
            environment: self.environment.clone(),
            hang_time: self.hang_time,
            connect_time: self.connect_time,
            ..HsmSettings::new(&self.name, &self.module, self.token.clone(), pin_source(&self.pin))
        }
    }
}

/// Reads `[[hsm]]`, which may be absent.
pub fn read_all(entry: Option<Entry<'_>>) -> Option<Vec<Hsm>> {
    let Some(entry) = entry else { return Some(Vec::new()) };
    let mut hsms: Vec<Hsm> = Vec::new();
    let mut whole = true;
    for entry in entry.list()? {
        match entry.section().and_then(|section| read(section, &hsms)) {
            Some(hsm) => hsms.push(hsm),
            None => whole = false,
        }
    }
    whole.then_some(hsms)
}

fn read(section: Section<'_>, before: &[Hsm]) -> Option<Hsm> {
    let name = section.need("name").and_then(|entry| {
        let name = entry.parsed(name)?;
        if before.iter().any(|hsm| hsm.name == name) {
            entry.problem(format!("{name:?} names another HSM too; names must be unique"));
        }
        Some(name)
    });
    let module = section.need("module").and_then(|entry| entry.path());
    let token = exactly_one(
        &section,
        "token",
        [
            section.get("token_label").map(|entry| entry.parsed(text).map(TokenSelector::Label)),
            section.get("token_serial").map(|entry| entry.parsed(text).map(TokenSelector::Serial)),
        ],
        "token_label or token_serial",
    );
    let pin = exactly_one(
        &section,
        "pin_file",
        [
            section.get("pin_file").map(|entry| entry.path().map(PinSource::File)),
            section.get("pin_env").map(|entry| entry.parsed(variable).map(PinSource::Variable)),
            section.get("pin_credential").map(|entry| entry.parsed(credential).map(PinSource::Credential)),
        ],
        "pin_file, pin_env or pin_credential",
    );
    let number = |name, allowed, default: usize| match section.get(name) {
        None => Some(default),
        Some(entry) => entry.integer(allowed).and_then(|number| usize::try_from(number).ok()),
    };
    let sessions = number("sessions", 1..=1024, 16);
    let queue = number("queue", 1..=65_536, 256);
    let replaced_at_most = number("threads_replaced", 0..=1024, 4);
    let isolation = section
        .get("isolation")
        .map_or(Some("process"), |entry| entry.choice(&[("process", "process"), ("threads", "threads")]));
    let quirks = section.section("quirks").map_or(Some(Quirks::default()), quirks);
    let test_key = section.get("test_key").map_or(Some("holdfast-health".into()), |entry| entry.parsed(text));
    let create_test_key = section.get("create_test_key").map_or(Some(false), |entry| entry.boolean());
    let environment = section.get("environment").map_or(Some(Vec::new()), environment);
    let connect_time = section.get("connect_time").map_or(Some(Duration::from_secs(30)), |entry| {
        entry.parsed(|text| units::duration(text, Duration::from_secs(1)..=Duration::from_secs(600)))
    });
    let hang_time = section.get("hang_time").map_or(Some(Duration::from_secs(2)), |entry| {
        entry.parsed(|text| units::duration(text, Duration::from_millis(100)..=Duration::from_secs(600)))
    });
    if let (Some(module), Some(token), Some(environment)) = (&module, &token, &environment)
        && let Some(other) = before
            .iter()
            .find(|hsm| (&hsm.module, &hsm.token, &hsm.environment) == (module, token, environment))
    {
        let message = format!("is the same token as {:?}'s; describe it once", other.name);
        section.problem_with(token_field(token), message);
    }
    section.finish();
    Some(Hsm {
        name: name?,
        module: module?,
        token: token?,
        pin: pin?,
        sessions: sessions?,
        queue: queue?,
        isolation: match isolation? {
            "threads" => Isolation::Threads { replaced_at_most: replaced_at_most? },
            _ => Isolation::Process,
        },
        quirks: quirks?,
        test_key: test_key?,
        create_test_key: create_test_key?,
        environment: environment?,
        hang_time: hang_time?,
        connect_time: connect_time?,
    })
}

fn token_field(token: &TokenSelector) -> &'static str {
    match token {
        TokenSelector::Label(_) => "token_label",
        TokenSelector::Serial(_) => "token_serial",
    }
}

fn environment(entry: Entry<'_>) -> Option<Vec<(String, String)>> {
    let section = entry.section()?;
    let value = |(name, entry): (&str, Entry<'_>)| Some((name.to_owned(), entry.text()?.to_owned()));
    section.entries().into_iter().map(value).collect()
}

fn exactly_one<T, const N: usize>(
    section: &Section<'_>,
    field: &str,
    given: [Option<Option<T>>; N],
    allowed: &str,
) -> Option<T> {
    let given: Vec<Option<T>> = given.into_iter().flatten().collect();
    match <[_; 1]>::try_from(given) {
        Ok([one]) => one,
        Err(given) if given.is_empty() => {
            section.problem_with(field, format!("is missing; give {allowed}"));
            None
        }
        Err(_) => {
            section.problem_with(field, format!("stands beside another; give only one of {allowed}"));
            None
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} isn't a name (1 to 64 letters, digits, - _ and .)"))
}
