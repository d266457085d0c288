//! Puts the parts together: from a checked configuration to something that answers requests.

mod watch;

pub use watch::{finish, keep_checking, keep_reloading, keep_tallying, keep_telling, look_again};

use crate::audit::{AuditError, AuditLog, Tally, policy_change};
use crate::backend::{HsmBackend, KeyBackend, KeystoreBackend, Vault, VaultError};
use crate::config::{self, ComponentFile, Config};
use crate::counters::Counters;
use crate::gate::{Authenticator, Credentials, KeyStore, KeyStores};
use crate::proxy::Proxy;
use crate::rate::RateLimiter;
use crate::server::{Connections, Exchange, Handshakes, WaitingRoom};
use holdfast_keystore::KeystoreFile;
use holdfast_pkcs11::Fleet;
use holdfast_policy::artefact::Source;
use holdfast_policy::life::{self, Configured, Lifecycle};
use holdfast_policy::life::{Failed, PolicySlot};
use holdfast_policy::make::Loader;
use holdfast_sandbox::{CompiledCache, LoadError, Ticker, digest};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Why the host can't start. Each says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keystore can't be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The audit log can't be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The sigv4 or proxy component can't be loaded.
    #[error(transparent)]
    Component(#[from] LoadError),
    /// A key store's HSMs can't be used as configured.
    #[error("the HSMs of key store {key_store}: {source}")]
    Hsm {
        /// Whose.
        key_store: String,
        /// Why not.
        source: holdfast_pkcs11::StartError,
    },
    /// The thread that interrupts components can't be started.
    #[error("can't start a thread: {0}")]
    Thread(std::io::Error),
}

/// What serves, and what it keeps reading.
pub struct Runtime {
    /// Answers requests.
    pub exchange: Arc<Exchange>,
    /// Holds keys and credentials.
    pub vault: Arc<Vault>,
    /// Decides, and what is to decide next.
    pub policies: Arc<Lifecycle>,
    /// Policies that fail too often.
    pub failing: UnboundedReceiver<Failed>,
}

/// For how long a start waits for HSMs.
const FIRST_CHECKS: Duration = Duration::from_secs(2);

/// What a claim may take: half of the budget, so that the rest of the request still has time to refuse.
fn claim_time(budget: Duration) -> Duration {
    budget / 2
}

impl Runtime {
    /// Opens everything that `config` names.
    pub async fn assemble(config: &Config) -> Result<Runtime, StartError> {
        let vault = Vault::open(KeystoreFile::at(&config.keystore.path), config.keystore.seal.clone())?;
        let ticker = Ticker::start().map_err(StartError::Thread)?;
        let cache = CompiledCache::open(&config.components.cache)?;
        let limits = &config.server.limits;
        let sigv4 = read(&config.components.sigv4)?;
        let authenticator = Authenticator::load(&sigv4, &cache, &ticker, claim_time(limits.budget)).await?;
        let proxy = Proxy::load(&read(&config.components.proxy)?, &cache, &ticker).await?;
        let (policies, failing) = policies(config, &cache, &ticker).await;
        let mut fleets = Vec::new();
        let mut backends = Vec::new();
        for store in &config.key_stores {
            backends.push(backend(config, store, &vault, &mut fleets)?);
        }
        // HSMs that are slow or away don't hold up the start, and not one after the other; health tells of them.
        let until = Instant::now() + FIRST_CHECKS;
        for (name, backend) in fleets {
            backend.wait_for_first_checks(name, until);
        }
        let mut stores = Vec::new();
        for (store, backend) in config.key_stores.iter().zip(backends) {
            let slot = policies.slot(store.name.as_str()).unwrap_or_default();
            stores.push(Arc::new(key_store(store, slot, backend, &vault)));
        }
        let exchange = Exchange {
            stores: KeyStores::new(stores),
            authenticator: Arc::new(authenticator),
            proxy,
            audit: AuditLog::open(&config.audit.path, config.audit.fsync)?,
            tally: Tally::default(),
            counters: Counters::default(),
            connections: Arc::new(Connections::default()),
            handshakes: Handshakes::default(),
            waiting: WaitingRoom::default(),
            body_limit: limits.body_bytes,
            budget: limits.budget,
        };
        let exchange = Arc::new(exchange);
        policies.record_by(records_of(&exchange));
        Ok(Runtime { exchange, vault, policies, failing })
    }
}

/// What holds the keys of a key store: its HSMs, or the keystore.
fn backend<'a>(
    config: &Config,
    store: &'a config::KeyStore,
    vault: &Arc<Vault>,
    fleets: &mut Vec<(&'a str, Arc<HsmBackend>)>,
) -> Result<Arc<dyn KeyBackend>, StartError> {
    let name = store.name.as_str();
    let Some(keys) = &store.hsm else {
        let backend = KeystoreBackend::new(vault.clone(), name);
        backend.check();
        return Ok(Arc::new(backend));
    };
    let fleet = Fleet::start(config.fleet(store, keys))
        .map_err(|source| StartError::Hsm { key_store: name.to_owned(), source })?;
    let backend = Arc::new(HsmBackend::new(fleet));
    fleets.push((name, backend.clone()));
    Ok(backend)
}

fn key_store(
    store: &config::KeyStore,
    policy: Arc<PolicySlot>,
    backend: Arc<dyn KeyBackend>,
    vault: &Arc<Vault>,
) -> KeyStore {
    let name = store.name.as_str();
    if !vault.has_key_store(name) {
        tracing::warn!(
            key_store = name,
            "the keystore has no such key store yet; `holdfast credential create` and `holdfast key create` make it"
        );
    }
    let credentials = Credentials::default();
    credentials.replace(vault.credentials(name));
    KeyStore {
        name: name.to_owned(),
        uri_path_prefix: store.uri_path_prefix.as_str().to_owned(),
        regions: store.regions.iter().map(|region| region.as_str().to_owned()).collect(),
        fleet_size: store.fleet_size.get(),
        credentials,
        rate: store.rate_limit.map(|rate| RateLimiter::new(rate.per_second.get(), rate.burst.get())),
        policy,
        counter: holdfast_gate::Counter::default(),
        backend,
    }
}

/// A component's bytes, held against the digest that the configuration pins.
fn read(file: &ComponentFile) -> Result<Vec<u8>, LoadError> {
    let bytes =
        std::fs::read(&file.path).map_err(|source| LoadError::Read { path: file.path.clone(), source })?;
    if let Some(pin) = &file.sha256 {
        let (found, wanted) = (digest(&bytes), pin.to_string());
        if found != wanted {
            return Err(LoadError::Pin { path: file.path.clone(), found, wanted });
        }
    }
    Ok(bytes)
}

/// The policies of all key stores, as they were left.
async fn policies(
    config: &Config,
    cache: &CompiledCache,
    ticker: &Ticker,
) -> (Arc<Lifecycle>, UnboundedReceiver<Failed>) {
    let configured = config.key_stores.iter().map(|store| Configured {
        key_store: store.name.as_str().to_owned(),
        policy: store.policy.clone().map(|policy| Box::new(move || configured(&policy)) as life::Read),
        cache_bytes: store.policy.as_ref().map_or(config::DEFAULT_CACHE, |policy| policy.cache_bytes),
    });
    let settings = life::Settings {
        trusted_keys: config.policies.trusted_keys.clone(),
        allow_unsigned: config.policies.allow_unsigned,
        automatic_rollback: config.policies.automatic_rollback,
        cache: cache.folder().to_owned(),
    };
    let loader = Loader::new(cache.clone(), ticker.clone());
    Lifecycle::start(&config.policies_folder(), configured.collect(), loader, settings).await
}

/// `[key_store.policy]`, read.
fn configured(policy: &config::Policy) -> Result<(Vec<u8>, Vec<Source>), String> {
    let component = read(&policy.component).map_err(|error| error.to_string())?;
    let document = policy.files.iter().map(|path| source(path)).collect::<Result<Vec<_>, _>>()?;
    Ok((component, document))
}

fn source(path: &Path) -> Result<Source, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("can't read the policy file {}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Source { name, text })
}

/// Changes of policy go into the audit log, as long as it is there.
fn records_of(exchange: &Arc<Exchange>) -> life::Record {
    let exchange = Arc::downgrade(exchange);
    Box::new(move |told| {
        let exchange = exchange.upgrade();
        Box::pin(async move {
            match exchange {
                Some(exchange) => exchange.audit.write(policy_change(&told)).await,
                None => Err(AuditError::Closed),
            }
            .map_err(|error| life::RecordError::Refused(error.to_string()))
        })
    })
}
