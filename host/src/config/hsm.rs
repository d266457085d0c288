//! `[[hsm]]`: HSMs by PKCS#11, and what a key store says about its keys in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_pkcs11::{
    FleetSettings, GcmParameters, HsmSettings, Isolation, IvSource, KeySettings, Quirks, TagPlace,
    TokenSelector,
};

use super::keystore::{credential, variable};
use super::reader::{Entry, Section};
use super::secret::{PinSource, pin_source};
use super::units;
use super::{Config, KeyStore, SealSource};

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
}

/// The `hsm` fields of a `[[key_store]]`.
#[derive(Clone, Debug)]
pub struct HsmKeys {
    /// Names of `[[hsm]]`, one to ten.
    pub hsms: Vec<String>,
    /// Where use counts are kept; `None` for the default beside the configuration.
    pub state: Option<PathBuf>,
    /// What is said about single keys; `None` serves every AES-256 key whose label is a key id.
    pub keys: Option<BTreeMap<String, KeySettings>>,
    /// Whether ciphertexts of AWS's sample proxy are decrypted too.
    pub accept_aws_sample_proxy: bool,
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
            ..HsmSettings::new(&self.name, &self.module, self.token.clone(), pin_source(&self.pin))
        }
    }
}

impl Config {
    /// The fleet of a key store whose keys are in HSMs.
    pub fn fleet(&self, store: &KeyStore, keys: &HsmKeys) -> FleetSettings {
        let hsms = keys.hsms.iter().filter_map(|name| self.hsms.iter().find(|hsm| hsm.name == *name));
        // Requests must not reach the key that seals the keystore, which may be on the same token.
        let hidden = match &self.keystore.seal {
            SealSource::Hsm(seal) => vec![seal.key.clone()],
            _ => Vec::new(),
        };
        FleetSettings {
            keys: keys.keys.clone(),
            hidden,
            pin_folder: self.keystore.pin_folder(),
            accept_aws_sample_proxy: keys.accept_aws_sample_proxy,
            ..FleetSettings::new(hsms.map(Hsm::settings).collect(), state_folder(&self.file, store, keys))
        }
    }
}

/// Where use counts of a key store are kept.
fn state_folder(file: &Path, store: &KeyStore, keys: &HsmKeys) -> PathBuf {
    let beside = || file.parent().unwrap_or(Path::new("")).join("hsm-state").join(store.name.as_str());
    keys.state.clone().unwrap_or_else(beside)
}

/// Most HSMs of a key store: GetHealthStatus lists ten at most.
const MOST: usize = 10;

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
        .map_or(Some("process"), |entry| choice(&entry, &[("process", "process"), ("threads", "threads")]));
    let quirks = section.section("quirks").map_or(Some(Quirks::default()), quirks);
    let test_key = section.get("test_key").map_or(Some("holdfast-health".into()), |entry| entry.parsed(text));
    let create_test_key = section.get("create_test_key").map_or(Some(false), |entry| entry.boolean());
    let environment = section.get("environment").map_or(Some(Vec::new()), environment);
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
    })
}

fn token_field(token: &TokenSelector) -> &'static str {
    match token {
        TokenSelector::Label(_) => "token_label",
        TokenSelector::Serial(_) => "token_serial",
    }
}

fn quirks(section: Section<'_>) -> Option<Quirks> {
    let usual = Quirks::default();
    let iv = section.get("iv").map_or(Some(usual.iv), |entry| {
        choice(
            &entry,
            &[
                ("host", IvSource::Host),
                ("message", IvSource::Message),
                ("parameters", IvSource::Parameters),
                ("prepended", IvSource::Prepended),
                ("appended", IvSource::Appended),
            ],
        )
    });
    let parameters = section.get("gcm_parameters").map_or(Some(usual.parameters), |entry| {
        choice(
            &entry,
            &[
                ("standard", GcmParameters::Standard),
                ("iv-bits-zero", GcmParameters::IvBitsZero),
                ("without-iv-bits", GcmParameters::WithoutIvBits),
            ],
        )
    });
    let tag = section.get("tag").map_or(Some(usual.tag), |entry| {
        choice(&entry, &[("appended", TagPlace::Appended), ("apart", TagPlace::Apart)])
    });
    let mechanism = section
        .get("mechanism")
        .map_or(Some(usual.mechanism), |entry| entry.integer(0..=u64::from(u32::MAX)));
    let thread_safe = section.get("thread_safe").map_or(Some(usual.thread_safe), |entry| entry.boolean());
    section.finish();
    Some(Quirks {
        iv: iv?,
        parameters: parameters?,
        tag: tag?,
        mechanism: mechanism?,
        thread_safe: thread_safe?,
    })
}

/// The fields of a key store whose keys are in HSMs; `None` inside where they are in the keystore.
pub fn read_keys(section: &Section<'_>, hsms: &[Hsm], taken: &[String]) -> Option<Option<HsmKeys>> {
    let names = section.get("hsm").map(|entry| names(&entry, hsms, taken));
    let state = section.get("hsm_state").map(|entry| entry.path());
    let keys = section.section("hsm_keys").map(|section| keys(&section));
    let accept = section.get("accept").map(|entry| choice(&entry, &[("aws-sample-proxy", true)]));
    let Some(names) = names else {
        for (name, given) in
            [("hsm_state", state.is_some()), ("hsm_keys", keys.is_some()), ("accept", accept.is_some())]
        {
            if given {
                section.problem_with(name, "is only for a key store with `hsm = [...]`");
            }
        }
        return Some(None);
    };
    Some(Some(HsmKeys {
        hsms: names?,
        state: match state {
            None => None,
            Some(read) => Some(read?),
        },
        keys: match keys {
            None => None,
            Some(read) => Some(read?),
        },
        accept_aws_sample_proxy: match accept {
            None => false,
            Some(read) => read?,
        },
    }))
}

fn names(entry: &Entry<'_>, hsms: &[Hsm], taken: &[String]) -> Option<Vec<String>> {
    let items = entry.list()?;
    if !(1..=MOST).contains(&items.len()) {
        entry.problem(format!("has {} HSMs; a key store has 1 to {MOST}", items.len()));
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for item in &items {
        let name = item.text()?;
        if !hsms.iter().any(|hsm| hsm.name == name) {
            item.problem(format!("{name:?} is no [[hsm]] of this file"));
        } else if taken.iter().any(|other| other == name) {
            item.problem(format!("{name:?} serves another key store; give each key store tokens of its own"));
        } else if names.iter().any(|other| other == name) {
            item.problem(format!("{name:?} stands here twice"));
        }
        names.push(name.to_owned());
    }
    Some(names)
}

fn keys(section: &Section<'_>) -> Option<BTreeMap<String, KeySettings>> {
    let mut keys = BTreeMap::new();
    for (id, entry) in section.entries() {
        let id = match id.parse::<holdfast_keystore::KeyId>() {
            Ok(id) => id.as_str().to_owned(),
            Err(error) => {
                entry.problem(error.to_string());
                return None;
            }
        };
        let section = entry.section()?;
        let label = section.get("label").map(|entry| entry.parsed(text));
        let disabled = section.get("disabled").map_or(Some(false), |entry| entry.boolean());
        let retired = section.get("retired").map_or(Some(Vec::new()), |entry| {
            let items = entry.list()?;
            items.iter().map(|item| u32::try_from(item.integer(1..=u64::from(u32::MAX))?).ok()).collect()
        });
        section.finish();
        let label = match label {
            None => None,
            Some(read) => Some(read?),
        };
        keys.insert(id, KeySettings { label, disabled: disabled?, retired: retired? });
    }
    Some(keys)
}

fn environment(entry: Entry<'_>) -> Option<Vec<(String, String)>> {
    let section = entry.section()?;
    let value = |(name, entry): (&str, Entry<'_>)| Some((name.to_owned(), entry.text()?.to_owned()));
    section.entries().into_iter().map(value).collect()
}

fn choice<T: Copy>(entry: &Entry<'_>, choices: &[(&str, T)]) -> Option<T> {
    let found = entry.text()?;
    let chosen = choices.iter().find(|(name, _)| *name == found).map(|(_, value)| *value);
    if chosen.is_none() {
        let allowed: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        entry.problem(format!("{found:?} isn't known; allowed: {}", allowed.join(", ")));
    }
    chosen
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

fn text(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text => Ok(text.to_owned()),
    }
}
