//! Counters, and their text in the Prometheus format.

use crate::gate::KeyStores;
use crate::server::Exchange;
use holdfast_gate::ErrorName;
use holdfast_gate::reply::HealthStatus;
use holdfast_policy::life::{Difference, Origin};
use holdfast_sandbox::FailureCounts;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of times, in microseconds.
const BOUNDS: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 25_000, 100_000, 150_000, 250_000];

/// What the server counts.
#[derive(Default)]
pub struct Metrics {
    ok: AtomicU64,
    errors: [AtomicU64; ErrorName::ALL.len()],
    times: [AtomicU64; BOUNDS.len() + 1],
    time_sum: AtomicU64,
    unrecorded: AtomicU64,
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16, error: Option<ErrorName>, took: Duration) {
        let counter = match error {
            Some(error) => self.errors.get(error as usize),
            None if status == 200 => Some(&self.ok),
            None => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.times[bucket].fetch_add(1, Ordering::Relaxed);
        self.time_sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request that was refused because its record could not be written.
    pub fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything that is counted, as Prometheus reads it.
pub fn text(exchange: &Exchange) -> String {
    let mut out = String::new();
    let metrics = &exchange.metrics;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    head(&mut out, "holdfast_requests_total", "counter", "Answers by errorName; empty for success.");
    line(&mut out, "holdfast_requests_total", "error=\"\"", load(&metrics.ok));
    for name in ErrorName::ALL {
        let value = metrics.errors.get(name as usize).map_or(0, load);
        line(&mut out, "holdfast_requests_total", &format!("error=\"{name}\""), value);
    }
    head(&mut out, "holdfast_request_seconds", "histogram", "Time from a whole head to the answer.");
    let mut sum = 0;
    for (i, counter) in metrics.times.iter().enumerate() {
        sum += load(counter);
        let bound = BOUNDS.get(i).map_or("+Inf".to_owned(), |micros| format!("{}", *micros as f64 / 1e6));
        line(&mut out, "holdfast_request_seconds_bucket", &format!("le=\"{bound}\""), sum);
    }
    line(&mut out, "holdfast_request_seconds_count", "", sum);
    let seconds = load(&metrics.time_sum) as f64 / 1e6;
    // Writing to a String can't fail.
    let _ = writeln!(out, "holdfast_request_seconds_sum {seconds}");
    head(&mut out, "holdfast_unrecorded_total", "counter", "Requests refused because the audit log failed.");
    line(&mut out, "holdfast_unrecorded_total", "", load(&metrics.unrecorded));
    head(&mut out, "holdfast_unauthenticated_total", "counter", "Requests that failed authentication.");
    line(&mut out, "holdfast_unauthenticated_total", "", exchange.tally.total());
    head(&mut out, "holdfast_connections", "gauge", "Open connections.");
    line(&mut out, "holdfast_connections", "", exchange.connections.open() as u64);
    head(&mut out, "holdfast_connections_evicted_total", "counter", "Idle strangers closed to make room.");
    line(&mut out, "holdfast_connections_evicted_total", "", load(&exchange.connections.evicted));
    head(&mut out, "holdfast_connections_turned_away_total", "counter", "Connections refused at the limit.");
    line(&mut out, "holdfast_connections_turned_away_total", "", load(&exchange.connections.turned_away));
    head(&mut out, "holdfast_bodies_awaited", "gauge", "Requests whose body is still to come.");
    line(&mut out, "holdfast_bodies_awaited", "", exchange.waiting.taken() as u64);
    head(
        &mut out,
        "holdfast_bodies_given_up_total",
        "counter",
        "Waits for a body that made room for others.",
    );
    line(&mut out, "holdfast_bodies_given_up_total", "", load(&exchange.waiting.given_up));
    head(&mut out, "holdfast_component_failures_total", "counter", "Sandbox failures by component and kind.");
    failures(&mut out, "sigv4", exchange.authenticator.digest(), &exchange.authenticator.failures);
    failures(&mut out, "proxy", exchange.proxy.digest(), &exchange.proxy.failures);
    policies(&mut out, &exchange.stores);
    key_managers(&mut out, &exchange.stores);
    out
}

fn key_managers(out: &mut String, stores: &KeyStores) {
    head(out, "holdfast_key_manager_serves", "gauge", "0 where a key manager is UNAVAILABLE.");
    for store in stores.iter() {
        for manager in store.backend.fleet() {
            let id = manager.id.replace('\\', "\\\\").replace('"', "\\\"");
            let labels = format!("keyStore=\"{}\",keyManager=\"{id}\"", store.name);
            let serves = manager.status != HealthStatus::Unavailable;
            line(out, "holdfast_key_manager_serves", &labels, u64::from(serves));
        }
    }
    head(out, "holdfast_hsm_bad_ivs_total", "counter", "IVs that an HSM made of zeros, or twice.");
    for store in stores.iter() {
        for (hsm, count) in store.backend.bad_ivs() {
            let labels = format!("keyStore=\"{}\",hsm=\"{hsm}\"", store.name);
            line(out, "holdfast_hsm_bad_ivs_total", &labels, count);
        }
    }
}

fn policies(out: &mut String, stores: &KeyStores) {
    let policies: Vec<_> =
        stores.iter().filter_map(|store| store.policy.get().map(|active| (store, active))).collect();
    let policies = || policies.iter().map(|(store, active)| (store, &active.policy));
    for (store, policy) in policies() {
        let component = &policy.identity().component;
        for (kind, count) in policy.metrics().failures {
            let labels = format!(
                "component=\"policy\",digest=\"{component}\",keyStore=\"{}\",kind=\"{}\"",
                store.name,
                kind.label()
            );
            line(out, "holdfast_component_failures_total", &labels, count);
        }
    }
    lives(out, stores);
    head(out, "holdfast_policy_cache_total", "counter", "Decisions by where they came from.");
    for (store, policy) in policies() {
        let metrics = policy.metrics();
        for (from, value) in [("hit", metrics.hits), ("miss", metrics.misses), ("evicted", metrics.evictions)]
        {
            let labels = format!("keyStore=\"{}\",from=\"{from}\"", store.name);
            line(out, "holdfast_policy_cache_total", &labels, value);
        }
    }
    head(out, "holdfast_policy_cache_entries", "gauge", "Decisions kept.");
    for (store, policy) in policies() {
        line(
            out,
            "holdfast_policy_cache_entries",
            &format!("keyStore=\"{}\"", store.name),
            policy.metrics().entries,
        );
    }
}

/// Whether policies decide, and what their shadows say.
fn lives(out: &mut String, stores: &KeyStores) {
    head(out, "holdfast_policy_decides", "gauge", "1 where a policy decides, 0 where everything is refused.");
    for store in stores.iter() {
        let decides = store.policy.get().is_some_and(|active| active.unusable.is_none());
        let labels = format!("keyStore=\"{}\"", store.name);
        line(out, "holdfast_policy_decides", &labels, u64::from(decides));
    }
    head(
        out,
        "holdfast_policy_activation",
        "gauge",
        "The number of the activation in force; 0: the configuration's.",
    );
    for store in stores.iter() {
        let number = store.policy.get().map_or(0, |active| match active.origin {
            Origin::Activation { number, .. } => number,
            Origin::Configuration => 0,
        });
        line(out, "holdfast_policy_activation", &format!("keyStore=\"{}\"", store.name), number);
    }
    head(
        out,
        "holdfast_policy_shadow_total",
        "counter",
        "Decisions of the shadow policy by how they compare.",
    );
    for store in stores.iter() {
        let Some(active) = store.policy.get() else { continue };
        let Some(shadow) = active.shadow() else { continue };
        let mut counts = |result: &str, value| {
            let labels = format!("keyStore=\"{}\",result=\"{result}\"", store.name);
            line(out, "holdfast_policy_shadow_total", &labels, value);
        };
        for difference in Difference::ALL {
            counts(difference.name(), shadow.count(difference));
        }
        counts("dropped", shadow.dropped());
    }
}

fn failures(out: &mut String, component: &str, digest: &str, counts: &FailureCounts) {
    for (failure, count) in counts.iter() {
        let labels = format!("component=\"{component}\",digest=\"{digest}\",kind=\"{}\"", failure.label());
        line(out, "holdfast_component_failures_total", &labels, count);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = if labels.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{labels}}} {value}")
    };
}
