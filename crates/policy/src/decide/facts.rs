//! The facts that a policy reads: what its component gets to see, and what its decisions are cached by.

use holdfast_gate::facts::{Facts, Named};
use holdfast_gate::query::{DecryptCounts, Operation, Query};

use crate::decide::bindings::types;

/// The facts that `describe` named.
#[derive(Clone, Copy)]
pub(crate) struct Reads(Facts);

impl Reads {
    pub(crate) fn new(facts: types::Facts) -> Reads {
        let [bits] = facts.as_array();
        Reads(Facts::from_bits(bits))
    }

    /// Whether the same values come again: not where each request has its own.
    pub(crate) fn repeat(self) -> bool {
        self.0.repeat()
    }

    /// The members of `other-metadata` that the component gets to see.
    pub(crate) fn others(self, query: &Query) -> Vec<(&str, &str)> {
        let shown = self.0.of(query).other_metadata.iter();
        shown.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The query as the component gets it: facts that it didn't name are empty.
    pub(crate) fn view<'a>(self, query: &'a Query, others: &'a [(&'a str, &'a str)]) -> types::Query<'a> {
        let shown = self.0.of(query);
        let DecryptCounts { minute, hour, key_minute, key_hour } = shown.decrypts;
        types::Query {
            key_store: shown.key_store,
            access_key_id: shown.access_key_id,
            key_id: shown.key_id,
            operation: operation(shown.operation),
            principal: shown.principal.map_or(types::Identity::Other(""), identity),
            principal_text: shown.principal_text,
            kms_key: shown.kms_key.map(identity),
            kms_operation: shown.kms_operation,
            kms_request_id: shown.kms_request_id,
            via_service: shown.via_service,
            source_vpc: shown.source_vpc,
            source_vpce: shown.source_vpce,
            other_metadata: others,
            tls_peer: shown.tls_peer,
            time: shown.time,
            clock: types::Clock { hour: shown.hour, weekday: shown.weekday },
            decrypts: types::DecryptCounts { minute, hour, key_minute, key_hour },
        }
    }

    /// The time that the component's clocks show.
    pub(crate) fn time(self, query: &Query) -> u64 {
        self.0.time(query)
    }

    /// The names of the facts, as `wit/policy` has them.
    pub(crate) fn names(self) -> Vec<&'static str> {
        self.0.names()
    }
}

fn operation(operation: Operation) -> types::Operation {
    match operation {
        Operation::GetKeyMetadata => types::Operation::GetKeyMetadata,
        Operation::Encrypt => types::Operation::Encrypt,
        Operation::Decrypt => types::Operation::Decrypt,
    }
}

fn identity(named: Named<'_>) -> types::Identity<'_> {
    match named {
        Named::Arn { partition, service, region, account, resource, role } => {
            types::Identity::Arn(types::Arn { partition, service, region, account, resource, role })
        }
        Named::Service(name) => types::Identity::Service(name),
        Named::Other(text) => types::Identity::Other(text),
    }
}

/// A key that two queries share exactly when the component is given the same.
pub(crate) fn key(view: &types::Query<'_>) -> Vec<u8> {
    let mut key = Key(Vec::with_capacity(256));
    key.text(view.key_store);
    key.text(view.access_key_id);
    key.text(view.key_id);
    key.0.push(view.operation as u8);
    key.identity(&view.principal);
    key.text(view.principal_text);
    key.0.push(u8::from(view.kms_key.is_some()));
    if let Some(kms_key) = &view.kms_key {
        key.identity(kms_key);
    }
    key.text(view.kms_operation);
    key.text(view.kms_request_id);
    for option in [view.via_service, view.source_vpc, view.source_vpce, view.tls_peer] {
        key.option(option);
    }
    key.0.extend_from_slice(&view.other_metadata.len().to_le_bytes());
    for (name, value) in view.other_metadata {
        key.text(name);
        key.text(value);
    }
    key.0.extend_from_slice(&view.time.to_le_bytes());
    key.0.extend_from_slice(&[view.clock.hour, view.clock.weekday]);
    let types::DecryptCounts { minute, hour, key_minute, key_hour } = view.decrypts;
    for count in [minute, hour, key_minute, key_hour] {
        key.0.extend_from_slice(&count.to_le_bytes());
    }
    key.0
}

/// Values one after the other, each with its length, so that no two sequences of values read the same.
struct Key(Vec<u8>);

impl Key {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&text.len().to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn identity(&mut self, identity: &types::Identity<'_>) {
        match identity {
            types::Identity::Arn(arn) => {
                self.0.push(0);
                for part in [arn.partition, arn.service, arn.region, arn.account, arn.resource] {
                    self.text(part);
                }
                self.option(arn.role);
            }
            types::Identity::Service(name) => {
                self.0.push(1);
                self.text(name);
            }
            types::Identity::Other(text) => {
                self.0.push(2);
                self.text(text);
            }
        }
    }
}

#[cfg(test)]
mod tests;
