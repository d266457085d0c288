//! What a scrape tells: everything that is counted, read when it is asked for.

use super::page::{Format, Page};
use crate::gate::{KeyStore, KeyStores};
use crate::server::{Exchange, HandshakeFailure};
use holdfast_gate::reply::HealthStatus;
use holdfast_gate::sigv4::AuthenticationFault;
use holdfast_policy::life::{Active, Difference, Origin};
use holdfast_sandbox::FailureCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that is counted.
pub struct Scrape(Registry);

impl Scrape {
    /// Of what answers requests.
    pub fn of(exchange: Arc<Exchange>) -> Scrape {
        let mut registry = Registry::with_prefix("holdfast");
        registry.register_collector(Box::new(Counted(exchange)));
        Scrape(registry)
    }

    /// As it is now.
    pub fn text(&self, format: Format) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.0);
        format.write(text)
    }
}

struct Counted(Arc<Exchange>);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Collector for Counted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, exchange) = (Page(encoder), &*self.0);
        requests(&mut page, exchange)?;
        connections(&mut page, exchange)?;
        component_failures(&mut page, exchange)?;
        policies(&mut page, &exchange.stores)?;
        shadows(&mut page, &exchange.stores)?;
        key_managers(&mut page, &exchange.stores)
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn requests(page: &mut Page<'_>, exchange: &Exchange) -> fmt::Result {
    let counters = &exchange.counters;
    let refusals = counters.refusals().map(|(name, count)| ([("error", name.as_str())], count));
    page.counters(
        "requests",
        "Answers by errorName; empty for success.",
        [([("error", "")], counters.successes())].into_iter().chain(refusals),
    )?;
    page.histogram(
        "request_seconds",
        "Time from a whole head to the answer.",
        &counters.times(),
        counters.time_sum(),
    )?;
    page.counter(
        "unrecorded",
        "Requests refused because the audit log failed.",
        counters.unrecorded_requests(),
    )?;
    page.gauge(
        "audit_log_writable",
        "0 while the audit log can't be written, and requests are refused.",
        u64::from(exchange.audit.is_writable()),
    )?;
    page.counter(
        "audit_log_truncated",
        "How often the audit log was found shorter than it was left.",
        exchange.audit.truncated(),
    )?;
    page.counter("throttled", "Requests beyond a key store's rate.", exchange.tally.total_throttled())?;
    page.counters(
        "authentication_failures",
        "Requests that failed authentication, by why.",
        AuthenticationFault::ALL.map(|fault| ([("fault", fault.label())], exchange.tally.total_of(fault))),
    )?;
    page.counter("unauthenticated", "Requests that failed authentication.", exchange.tally.total())
}

fn connections(page: &mut Page<'_>, exchange: &Exchange) -> fmt::Result {
    let (connections, waiting) = (&exchange.connections, &exchange.waiting);
    page.gauge("connections", "Open connections.", connections.open() as u64)?;
    page.counters(
        "tls_handshake_failures",
        "TLS handshakes that failed, by kind.",
        HandshakeFailure::ALL.map(|kind| ([("kind", kind.label())], exchange.handshakes.count(kind))),
    )?;
    page.counter("connections_evicted", "Idle strangers closed to make room.", load(&connections.evicted))?;
    page.counter(
        "connections_turned_away",
        "Connections refused at the limit.",
        load(&connections.turned_away),
    )?;
    page.gauge("bodies_awaited", "Requests whose body is still to come.", waiting.taken() as u64)?;
    page.counter("bodies_given_up", "Waits for a body that made room for others.", load(&waiting.given_up))
}

fn component_failures(page: &mut Page<'_>, exchange: &Exchange) -> fmt::Result {
    let labels = |component: &'static str, digest: &str, store: Option<&str>, kind: &'static str| {
        let mut labels = vec![("component", component.to_owned()), ("digest", digest.to_owned())];
        labels.extend(store.map(|store| ("key_store", store.to_owned())));
        labels.push(("kind", kind.to_owned()));
        labels
    };
    let of_host = |component, digest: &str, counts: &FailureCounts| {
        let counts = counts.iter();
        counts
            .map(|(failure, count)| (labels(component, digest, None, failure.label()), count))
            .collect::<Vec<_>>()
    };
    let mut all = of_host("sigv4", exchange.authenticator.digest(), &exchange.authenticator.failures);
    all.extend(of_host("proxy", exchange.proxy.digest(), &exchange.proxy.failures));
    for (store, active) in active(&exchange.stores) {
        let digest = &active.policy.identity().component;
        for (kind, count) in active.policy.metrics().failures {
            all.push((labels("policy", digest, Some(&store.name), kind.label()), count));
        }
    }
    page.counters("component_failures", "Sandbox failures by component and kind.", all)
}

/// The key stores that have a policy, with it.
fn active<'a>(stores: &'a KeyStores) -> Vec<(&'a KeyStore, Arc<Active>)> {
    let with_policy = |store: &'a Arc<KeyStore>| Some((&**store, store.policy.get()?));
    stores.iter().filter_map(with_policy).collect()
}

fn policies(page: &mut Page<'_>, stores: &KeyStores) -> fmt::Result {
    let of_store = |store: &KeyStore| [("key_store", store.name.clone())];
    let active = active(stores);
    page.gauges(
        "policy_decides",
        "1 where a policy decides, 0 where everything is refused.",
        stores.iter().map(|store| {
            let decides = store.policy.get().is_some_and(|active| active.unusable.is_none());
            (of_store(store), u64::from(decides))
        }),
    )?;
    page.gauges(
        "policy_activation",
        "The number of the activation in force; 0: the configuration's.",
        stores.iter().map(|store| {
            let number = store.policy.get().map_or(0, |active| match active.origin {
                Origin::Activation { number, .. } => number,
                Origin::Configuration => 0,
            });
            (of_store(store), number)
        }),
    )?;
    page.counters(
        "policy_cache",
        "Decisions by where they came from.",
        active.iter().flat_map(|(store, active)| {
            let metrics = active.policy.metrics();
            let labels = |from| [("key_store", store.name.clone()), ("from", String::from(from))];
            let counts = [("hit", metrics.hits), ("miss", metrics.misses), ("evicted", metrics.evictions)];
            counts.map(|(from, count)| (labels(from), count))
        }),
    )?;
    page.gauges(
        "policy_cache_entries",
        "Decisions kept.",
        active.iter().map(|(store, active)| (of_store(store), active.policy.metrics().entries)),
    )
}

fn shadows(page: &mut Page<'_>, stores: &KeyStores) -> fmt::Result {
    let mut all = Vec::new();
    for (store, active) in active(stores) {
        let Some(shadow) = active.shadow() else { continue };
        let labels = |result: &str| [("key_store", store.name.clone()), ("result", result.to_owned())];
        for difference in Difference::ALL {
            all.push((labels(difference.name()), shadow.count(difference)));
        }
        all.push((labels("dropped"), shadow.dropped()));
    }
    page.counters("policy_shadow", "Decisions of the shadow policy by how they compare.", all)
}

fn key_managers(page: &mut Page<'_>, stores: &KeyStores) -> fmt::Result {
    let managers = stores.iter().flat_map(|store| {
        store.managers().into_iter().map(move |manager| {
            let serves = manager.status != HealthStatus::Unavailable;
            ([("key_store", store.name.clone()), ("key_manager", manager.id)], u64::from(serves))
        })
    });
    page.gauges("key_manager_serves", "0 where a key manager is UNAVAILABLE.", managers)?;
    let standings = stores.iter().flat_map(|store| {
        let standing = store.standing().status;
        [HealthStatus::Active, HealthStatus::Degraded, HealthStatus::Unavailable].map(|status| {
            let labels = [("key_store", store.name.clone()), ("status", status.as_str().to_owned())];
            (labels, u64::from(status == standing))
        })
    });
    page.gauges("key_store_status", "1 for the status that a key store has.", standings)?;
    let bad_ivs = stores.iter().flat_map(|store| {
        let of_store = move |hsm| [("key_store", store.name.clone()), ("hsm", hsm)];
        store.backend.bad_ivs().into_iter().map(move |(hsm, count)| (of_store(hsm), count))
    });
    page.counters(
        "hsm_bad_ivs",
        "IVs that an HSM made of zeros, twice, or in place of the host's.",
        bad_ivs,
    )?;
    let errors = stores.iter().flat_map(|store| {
        let of_store = move |hsm| [("key_store", store.name.clone()), ("hsm", hsm)];
        store.backend.module_errors().into_iter().map(move |(hsm, count)| (of_store(hsm), count))
    });
    page.counters("hsm_errors", "Operations in which a module failed, mended or not.", errors)
}
