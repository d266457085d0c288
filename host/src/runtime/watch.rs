//! What goes on in the background: health checks, rereading the keystore, summaries of what was not authenticated.

use crate::audit::Failures;
use crate::backend::Vault;
use crate::gate::Standing;
use crate::server::Exchange;
use holdfast_gate::reply::HealthStatus;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two checks: well under the minute that the specification allows (checklist O9).
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// Between two looks at how everything stands.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the keystore's file.
const RELOAD_EVERY: Duration = Duration::from_millis(250);
/// Between two tries to read the same state of a keystore that could not be taken up.
const RELOAD_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Between two summaries.
const TALLY_EVERY: Duration = Duration::from_secs(10);

/// Encrypts and decrypts with every key store's test key, again and again.
pub async fn keep_checking(exchange: Arc<Exchange>) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        check_all(exchange.clone()).await;
    }
}

async fn check_all(exchange: Arc<Exchange>) {
    let checked = tokio::task::spawn_blocking(move || {
        for store in exchange.stores.iter() {
            store.backend.check();
        }
    });
    if checked.await.is_err() {
        tracing::error!("a health check panicked");
    }
}

/// Tells once of each change: of how a key store stands, and of an audit log that hangs. Never ends.
pub async fn keep_telling(exchange: Arc<Exchange>) {
    let mut told: BTreeMap<String, Standing> = BTreeMap::new();
    let mut hung = false;
    loop {
        for store in exchange.stores.iter() {
            let standing = store.standing();
            let before = told.get(&store.name).map(|standing| standing.status);
            if before != Some(standing.status) {
                let (key_store, why) = (&store.name, standing.why.join("; "));
                match standing.status {
                    HealthStatus::Active if before.is_none() => {}
                    HealthStatus::Active => tracing::info!(key_store, "the key store is ACTIVE again"),
                    HealthStatus::Degraded => tracing::warn!(key_store, why, "the key store is DEGRADED"),
                    HealthStatus::Unavailable => {
                        tracing::error!(
                            key_store,
                            why,
                            "the key store is UNAVAILABLE: its requests are refused"
                        );
                    }
                }
            }
            told.insert(store.name.clone(), standing);
        }
        let hangs = exchange.audit.hangs();
        match (hung, &hangs) {
            (false, Some(why)) => tracing::error!(why, "requests are refused"),
            (true, None) => tracing::info!("the audit log takes records again"),
            _ => {}
        }
        hung = hangs.is_some();
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Takes newer states of the keystore's file, with keys and credentials, while requests go on.
pub async fn keep_reloading(exchange: Arc<Exchange>, vault: Arc<Vault>) {
    // Nothing seen yet, so looked at once: it may have changed since it was opened, while components were compiled.
    let mut seen = None;
    let mut refused: Option<(Option<Identity>, Instant)> = None;
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        let look = tokio::task::spawn_blocking({
            let vault = vault.clone();
            move || identity(&vault)
        });
        let Ok(now) = look.await else { continue };
        let was_refused =
            refused.is_some_and(|(what, when)| what == now && when.elapsed() < RELOAD_AGAIN_AFTER);
        if now == seen || was_refused {
            continue;
        }
        let reloaded = tokio::task::spawn_blocking({
            let vault = vault.clone();
            move || vault.reload()
        });
        match reloaded.await {
            Ok(Ok(changed)) => {
                (seen, refused) = (now, None);
                if changed {
                    take_up(&exchange, &vault).await;
                }
            }
            // Not `seen`, so tried again: a revoked credential must not stay valid because the files were all open once.
            Ok(Err(error)) => {
                tracing::error!(%error, "the changed keystore is refused; the state before is in use");
                refused = Some((now, Instant::now()));
            }
            Err(_) => {
                tracing::error!("reading the keystore panicked; the state before is in use");
                refused = Some((now, Instant::now()));
            }
        }
    }
}

async fn take_up(exchange: &Arc<Exchange>, vault: &Vault) {
    for store in exchange.stores.iter() {
        store.credentials.replace(vault.credentials(&store.name));
    }
    check_all(exchange.clone()).await;
    tracing::info!(generation = vault.generation(), "the keystore changed and is in use");
}

/// What tells one state of the file from another without reading it: writes replace it by a new one.
type Identity = (u64, u64, i64, i64);

fn identity(vault: &Vault) -> Option<Identity> {
    let metadata = vault.path().metadata().ok()?;
    Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

/// For an operator who has changed something: files are looked at all the time, and HSMs are asked now.
pub fn look_again(exchange: &Arc<Exchange>) {
    exchange.stores.iter().for_each(|store| store.backend.look_again());
    let changed = check_all(exchange.clone());
    tokio::spawn(changed);
    tracing::info!(
        "SIGHUP: keystore, certificate, audit log and HSMs are looked at; the configuration is read at a start only"
    );
}

/// Writes one record for many requests that were not authenticated.
pub async fn keep_tallying(exchange: Arc<Exchange>) {
    loop {
        tokio::time::sleep(TALLY_EVERY).await;
        write_tally(&exchange).await;
    }
}

/// Writes what was counted since the last time, if anything was.
async fn write_tally(exchange: &Exchange) {
    for Failures { key_store, fault, count, said } in exchange.tally.failures() {
        let hint = match fault {
            "skew" => "compare the clocks of both sides: this host's is the time of this line",
            "signature" => {
                "a wrong secret, or something on the way changed the request: a balancer has to hand on Host and path as they came"
            }
            "access-key-id" => "another key store's credential, or one that was removed",
            "region" => "add it to the key store's regions, if it is KMS",
            _ => "not what KMS sends",
        };
        tracing::warn!(key_store, fault, count, last = said, hint, "requests aren't authentic");
    }
    if let Some(failed) = exchange.handshakes.untold() {
        tracing::warn!(count = failed.count, last = failed.last, peer = %failed.peer, "TLS handshakes failed");
    }
    let summary = exchange.tally.summary();
    if summary.is_empty() {
        return;
    }
    if let Err(error) = exchange.audit.write(summary).await {
        tracing::error!(%error, "a summary of authentication failures is lost");
    }
}

/// The last records, and everything on the disk.
pub async fn finish(exchange: &Arc<Exchange>) {
    let last = async {
        write_tally(exchange).await;
        let exchange = exchange.clone();
        // A writer that panicked has said so.
        let _ = tokio::task::spawn_blocking(move || exchange.audit.close()).await;
    };
    // A sink that hangs doesn't keep the process from ending.
    if tokio::time::timeout(Duration::from_secs(5), last).await.is_err() {
        tracing::error!("the audit log can't be closed; its last records may not be on the disk");
    }
}
