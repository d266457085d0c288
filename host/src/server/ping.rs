//! `/ping` for load balancers (checklist T7), unsigned: whether requests can be served, and what can't be.
//!
//! `/ping` is 200 as long as one key store serves, so that a balancer doesn't take a host out for one of several; `/ping/KEY_STORE` is
//! for that one. Anybody may ask, so there are no reasons that have paths in them.

use crate::audit::AuditLog;
use crate::gate::{KeyStore, KeyStores, Standing};
use crate::proxy::Answer;
use holdfast_gate::reply::HealthStatus;
use holdfast_gate::{ErrorName, Refusal};
use http::Method;
use serde_json::{Value, json};

/// The answer, if `path` is of this kind.
pub fn answer(stores: &KeyStores, audit: &AuditLog, method: &Method, path: &str) -> Option<Answer> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let of_all = || stores.iter().map(|store| (store.name.as_str(), store.standing())).collect::<Vec<_>>();
    let standings = match path.strip_prefix("/ping")? {
        "" => of_all(),
        name => {
            let name = name.strip_prefix('/')?;
            let is_named = |store: &&std::sync::Arc<KeyStore>| store.name == name;
            let store = stores.iter().find(is_named)?;
            vec![(store.name.as_str(), store.standing())]
        }
    };
    Some(told(audit.is_writable(), &standings))
}

fn told(is_writable: bool, standings: &[(&str, Standing)]) -> Answer {
    let serves = |standing: &Standing| standing.status != HealthStatus::Unavailable;
    let ill = || standings.iter().filter(|(_, standing)| standing.status != HealthStatus::Active);
    if is_writable && standings.iter().any(|(_, standing)| serves(standing)) {
        let why: Vec<Value> = ill()
            .map(|(name, standing)| {
                json!({"keyStore": name, "status": standing.status.as_str(), "why": reasons(standing)})
            })
            .collect();
        let body = match why.is_empty() {
            true => json!({"status": "ok"}),
            false => json!({"status": "degraded", "keyStores": why}),
        };
        return Answer { status: 200, body: body.to_string().into(), error: None };
    }
    let mut told = Vec::new();
    // First, as a long message is cut.
    if !is_writable {
        told.push("the audit log can't be written, see the proxy's log".to_owned());
    }
    told.extend(ill().map(|(name, standing)| format!("key store {name}: {}", reasons(standing))));
    Answer::refusal(&Refusal::with(ErrorName::DependencyTimeout, told.join("; ")))
}

fn reasons(standing: &Standing) -> String {
    let without_paths = |why: &String| match why.contains('/') {
        true => format!("{}, see the proxy's log", why.split(": ").next().unwrap_or_default()),
        false => why.clone(),
    };
    standing.why.iter().map(without_paths).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(status: HealthStatus, why: &str) -> Standing {
        Standing { status, why: vec![why.to_owned()] }
    }

    #[test]
    fn a_failing_ping_names_what_fails() {
        let message = |is_writable, standings: &[(&str, Standing)]| {
            let answer = told(is_writable, standings);
            assert_eq!(answer.status, 503);
            String::from_utf8(answer.body.to_vec()).unwrap()
        };
        let ill = standing(HealthStatus::Unavailable, "its policy can't be loaded");
        let text = message(true, &[("demo", ill.clone())]);
        assert!(text.contains("key store demo: its policy") && !text.contains("audit"), "{text}");
        let well = Standing { status: HealthStatus::Active, why: Vec::new() };
        let text = message(false, &[("demo", well.clone())]);
        assert!(text.contains("the audit log can't be written") && !text.contains("demo"), "{text}");
        assert_eq!(told(true, &[("demo", ill), ("other", well)]).status, 200);
    }

    #[test]
    fn paths_stay_in_the_log() {
        let ill = standing(HealthStatus::Degraded, "HSM one is DEGRADED: can't load /opt/vendor/lib.so");
        let text = String::from_utf8(told(true, &[("demo", ill)]).body.to_vec()).unwrap();
        assert!(text.contains("DEGRADED") && text.contains("HSM one") && !text.contains("vendor"), "{text}");
    }
}
