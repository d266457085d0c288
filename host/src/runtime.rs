//! Puts the parts together: from a checked configuration to something that answers requests.

mod prune;
mod watch;

pub use prune::{keep_pruning, mark_used};
pub use watch::{finish, keep_checking, keep_reloading, keep_tallying};

use crate::audit::{AuditError, AuditLog, Tally};
use crate::backend::{HsmBackend, KeyBackend, KeystoreBackend, Vault, VaultError};
use crate::config::{self, ComponentFile, Config};
use crate::gate::{Authenticator, Credentials, KeyStore, KeyStores};
use crate::metrics::Metrics;
use crate::policy::{self, ComponentPolicy, Counter, Policy};
use crate::proxy::Proxy;
use crate::rate::RateLimiter;
use crate::sandbox::{CompiledCache, LoadError, Ticker, digest};
use crate::server::{Connections, Exchange, WaitingRoom};
use holdfast_keystore::KeystoreFile;
use holdfast_pkcs11::Fleet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    /// A policy can't be loaded.
    #[error("the policy of key store {key_store}: {source}")]
    Policy {
        /// Whose.
        key_store: String,
        /// Why not.
        source: policy::LoadError,
    },
    /// A policy's file can't be read.
    #[error("can't read the policy file {}: {source}", path.display())]
    PolicyFile {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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
        let mut stores = Vec::new();
        for store in &config.key_stores {
            let policy = match &store.policy {
                Some(policy) => Some(load_policy(store.name.as_str(), policy, &cache, &ticker).await?),
                None => None,
            };
            let backend = backend(config, store, &vault)?;
            stores.push(Arc::new(key_store(store, policy, backend, &vault)));
        }
        let exchange = Exchange {
            stores: KeyStores::new(stores),
            authenticator: Arc::new(authenticator),
            proxy,
            audit: AuditLog::open(&config.audit.path, config.audit.fsync)?,
            tally: Tally::default(),
            metrics: Metrics::default(),
            connections: Arc::new(Connections::default()),
            waiting: WaitingRoom::default(),
            body_limit: limits.body_bytes,
            budget: limits.budget,
        };
        Ok(Runtime { exchange: Arc::new(exchange), vault })
    }
}

/// What holds the keys of a key store: its HSMs, or the keystore.
fn backend(
    config: &Config,
    store: &config::KeyStore,
    vault: &Arc<Vault>,
) -> Result<Arc<dyn KeyBackend>, StartError> {
    let name = store.name.as_str();
    let Some(keys) = &store.hsm else {
        let backend = KeystoreBackend::new(vault.clone(), name);
        backend.check();
        return Ok(Arc::new(backend));
    };
    let fleet = Fleet::start(config.fleet(store, keys))
        .map_err(|source| StartError::Hsm { key_store: name.to_owned(), source })?;
    // HSMs that are slow or away don't hold up the start; health tells of them.
    fleet.wait_for_first_checks(FIRST_CHECKS);
    for hsm in fleet.health() {
        tracing::info!(key_store = name, hsm = hsm.name, model = hsm.model, serial = hsm.serial, status = ?hsm.status, "HSM");
    }
    Ok(Arc::new(HsmBackend::new(fleet)))
}

fn key_store(
    store: &config::KeyStore,
    policy: Option<Arc<dyn Policy>>,
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
    if policy.is_none() {
        tracing::warn!(key_store = name, "no policy is configured: every operation with a key is refused");
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
        counter: Counter::default(),
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

async fn load_policy(
    key_store: &str,
    policy_config: &config::Policy,
    cache: &CompiledCache,
    ticker: &Ticker,
) -> Result<Arc<dyn Policy>, StartError> {
    let document = policy_config.files.iter().map(|path| source(path)).collect::<Result<Vec<_>, _>>()?;
    let component = read(&policy_config.component)?;
    let compile = |engine: &wasmtime::Engine, bytes: &[u8]| {
        cache.load(engine, "the policy component", bytes).map_err(wasmtime::Error::from)
    };
    let watch = |engine: &wasmtime::Engine| {
        ticker.add(engine);
        ticker.awake();
    };
    let load = policy::Load {
        component: &component,
        document: &document,
        limits: policy::Limits { cache: policy_config.cache_bytes, ..policy::Limits::default() },
        snapshots: Some(cache.folder()),
        sandbox: policy::Sandbox { compile: &compile, watch: &watch },
    };
    let loaded = ComponentPolicy::load(load).await;
    let loaded = loaded.map_err(|source| StartError::Policy { key_store: key_store.to_owned(), source })?;
    tracing::info!(
        key_store,
        engine = loaded.identity().engine,
        revision = loaded.identity().revision,
        rules = loaded.identity().rules.len(),
        "policy loaded"
    );
    Ok(Arc::new(loaded))
}

fn source(path: &Path) -> Result<policy::Source, StartError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| StartError::PolicyFile { path: path.to_owned(), source })?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(policy::Source { name, text })
}
