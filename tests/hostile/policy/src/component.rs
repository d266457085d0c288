//! The document is words: `reads-FACT` for each fact that `describe` names, and the rest one of `exhaust`'s names to be
//! done while the document is read, as `configure-NAME` or `describe-NAME`. `hostile-NAME` as the key id, or the
//! kmsOperation, acts in `evaluate`.

use crate::exhaust::{VAST, exhaust, not_utf8, vast_lie};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

wit_bindgen::generate!({ path: "../../../wit/policy", world: "policy-engine" });

use exports::holdfast::policy::policy::Guest;
use holdfast::policy::types::{
    Decision, Description, Effect, Facts, Identity, Operation, Problem, Query, Source,
};

/// Decisions of this instance and of the one whose memory it began with.
static DECISIONS: AtomicU32 = AtomicU32::new(0);
/// What `configure` was given.
static DOCUMENT: Mutex<String> = Mutex::new(String::new());

/// All that a decision here can name.
const RULES: [&str; 4] = ["allowed", "remembers", "sees", "denied"];

struct Component;

impl Guest for Component {
    fn configure(document: Vec<Source>) -> Result<(), Vec<Problem>> {
        let text: String = document.into_iter().map(|source| source.text + " ").collect();
        text.split_whitespace().filter_map(|word| word.strip_prefix("configure-")).for_each(exhaust);
        *DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner) = text;
        Ok(())
    }

    fn describe() -> Description {
        let text = document();
        text.split_whitespace().filter_map(|word| word.strip_prefix("describe-")).for_each(exhaust);
        let reads = text.split_whitespace().filter_map(|word| word.strip_prefix("reads-"));
        Description {
            engine: "hostile".into(),
            reads: reads.fold(Facts::empty(), |facts, name| facts | fact(name)),
            rules: RULES.map(String::from).to_vec(),
            messages: Vec::new(),
        }
    }

    fn evaluate(query: Query) -> Decision {
        // One for the decision before the snapshot, one for this; a third would be another request's.
        if DECISIONS.fetch_add(1, Ordering::Relaxed) > 1 {
            return decision(Effect::Deny, "remembers");
        }
        let asked =
            [&query.key_id, &query.kms_operation].into_iter().find_map(|text| text.strip_prefix("hostile-"));
        let name = asked.unwrap_or_default();
        exhaust(name);
        match name {
            "sees" if sees(&query) => decision(Effect::Deny, "sees"),
            "deny" => decision(Effect::Deny, "denied"),
            "no-rule-of-its" => decision(Effect::Allow, "nobody's"),
            "many-rules" => {
                Decision { effect: Effect::Allow, rules: vec!["allowed".into(); 1000], errors: Vec::new() }
            }
            "allow-with-errors" => Decision {
                effect: Effect::Allow,
                rules: vec!["allowed".into()],
                errors: vec!["and an error".into()],
            },
            "large" => errors("e".repeat(1024 * 1024)),
            "vast" => errors("e".repeat(VAST)),
            "vast-lie" => errors(vast_lie()),
            "not-utf8" => errors(not_utf8()),
            _ => decision(Effect::Allow, "allowed"),
        }
    }
}

fn decision(effect: Effect, rule: &str) -> Decision {
    Decision { effect, rules: vec![rule.into()], errors: Vec::new() }
}

fn errors(text: String) -> Decision {
    Decision { effect: Effect::Allow, rules: Vec::new(), errors: vec![text] }
}

fn document() -> String {
    DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn fact(name: &str) -> Facts {
    match name {
        "key-id" => Facts::KEY_ID,
        "kms-operation" => Facts::KMS_OPERATION,
        "kms-request-id" => Facts::KMS_REQUEST_ID,
        "time" => Facts::TIME,
        _ => Facts::empty(),
    }
}

/// Whether there is anything in a fact that the document doesn't name. Of the four, all may be named.
fn sees(query: &Query) -> bool {
    let text = document();
    let named = |name: &str| text.split_whitespace().any(|word| word.strip_prefix("reads-") == Some(name));
    let text = |name: &str, value: &str| !named(name) && !value.is_empty();
    text("key-store", &query.key_store)
        || text("access-key-id", &query.access_key_id)
        || text("key-id", &query.key_id)
        || query.operation != Operation::GetKeyMetadata
        || !matches!(&query.principal, Identity::Other(text) if text.is_empty())
        || !query.principal_text.is_empty()
        || query.kms_key.is_some()
        || text("kms-operation", &query.kms_operation)
        || text("kms-request-id", &query.kms_request_id)
        || query.via_service.is_some()
        || query.source_vpc.is_some()
        || query.source_vpce.is_some()
        || !query.other_metadata.is_empty()
        || query.tls_peer.is_some()
        || (!named("time") && query.time != 0)
        || (query.clock.hour, query.clock.weekday) != (0, 0)
        || query.decrypts.hour != 0
}

export!(Component);
