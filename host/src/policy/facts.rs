//! The facts that a policy reads: what its component gets to see, and what its decisions are cached by.

use holdfast_gate::query::{Arn, DecryptCounts, Identity, Operation, Query};

use super::bindings::types::{self, Facts};

/// The facts that `describe` named.
#[derive(Clone, Copy)]
pub(super) struct Reads(Facts);

impl Reads {
    pub(super) fn new(facts: Facts) -> Reads {
        Reads(facts)
    }

    fn has(self, fact: Facts) -> bool {
        self.0 & fact == fact
    }

    /// Whether the same values come again: not where each request has its own.
    pub(super) fn repeat(self) -> bool {
        !self.has(Facts::TIME) && !self.has(Facts::KMS_REQUEST_ID) && !self.has(Facts::DECRYPTS)
    }

    /// The members of `other-metadata` that the component gets to see.
    pub(super) fn others(self, query: &Query) -> Vec<(&str, &str)> {
        let shown = if self.has(Facts::OTHER_METADATA) { query.other_metadata.as_slice() } else { &[] };
        shown.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The query as the component gets it: facts that it didn't name are empty.
    pub(super) fn view<'a>(self, query: &'a Query, others: &'a [(&'a str, &'a str)]) -> types::Query<'a> {
        let text = |fact, value: &'a String| if self.has(fact) { value.as_str() } else { "" };
        let option = |fact, value: &'a Option<String>| value.as_deref().filter(|_| self.has(fact));
        let principal = self.has(Facts::PRINCIPAL);
        types::Query {
            key_store: text(Facts::KEY_STORE, &query.key_store),
            access_key_id: text(Facts::ACCESS_KEY_ID, &query.access_key_id),
            key_id: text(Facts::KEY_ID, &query.key_id),
            operation: operation(if self.has(Facts::OPERATION) {
                query.operation
            } else {
                Operation::GetKeyMetadata
            }),
            principal: if principal { identity(&query.principal) } else { types::Identity::Other("") },
            principal_text: text(Facts::PRINCIPAL, &query.principal_text),
            kms_key: query.kms_key.as_ref().filter(|_| self.has(Facts::KMS_KEY)).map(identity),
            kms_operation: text(Facts::KMS_OPERATION, &query.kms_operation),
            kms_request_id: text(Facts::KMS_REQUEST_ID, &query.kms_request_id),
            via_service: option(Facts::VIA_SERVICE, &query.via_service),
            source_vpc: option(Facts::SOURCE_VPC, &query.source_vpc),
            source_vpce: option(Facts::SOURCE_VPCE, &query.source_vpce),
            other_metadata: others,
            tls_peer: option(Facts::TLS_PEER, &query.tls_peer),
            time: self.time(query),
            clock: self.clock(query),
            decrypts: self.decrypts(query),
        }
    }

    /// The time that the component's clocks show.
    pub(super) fn time(self, query: &Query) -> u64 {
        if self.has(Facts::TIME) { query.time } else { 0 }
    }

    fn clock(self, query: &Query) -> types::Clock {
        let (hour, weekday) = if self.has(Facts::CLOCK) { query.hour_and_weekday() } else { (0, 0) };
        types::Clock { hour, weekday }
    }

    fn decrypts(self, query: &Query) -> types::DecryptCounts {
        let counts = if self.has(Facts::DECRYPTS) { query.decrypts } else { DecryptCounts::default() };
        let DecryptCounts { minute, hour, key_minute, key_hour } = counts;
        types::DecryptCounts { minute, hour, key_minute, key_hour }
    }

    /// The names of the facts, as `wit/policy` has them.
    pub(super) fn names(self) -> Vec<&'static str> {
        let named = NAMES.iter().filter(|(fact, _)| self.has(*fact));
        named.map(|(_, name)| *name).collect()
    }
}

const NAMES: [(Facts, &str); 16] = [
    (Facts::KEY_STORE, "key-store"),
    (Facts::ACCESS_KEY_ID, "access-key-id"),
    (Facts::KEY_ID, "key-id"),
    (Facts::OPERATION, "operation"),
    (Facts::PRINCIPAL, "principal"),
    (Facts::KMS_KEY, "kms-key"),
    (Facts::KMS_OPERATION, "kms-operation"),
    (Facts::KMS_REQUEST_ID, "kms-request-id"),
    (Facts::VIA_SERVICE, "via-service"),
    (Facts::SOURCE_VPC, "source-vpc"),
    (Facts::SOURCE_VPCE, "source-vpce"),
    (Facts::OTHER_METADATA, "other-metadata"),
    (Facts::TLS_PEER, "tls-peer"),
    (Facts::TIME, "time"),
    (Facts::CLOCK, "clock"),
    (Facts::DECRYPTS, "decrypts"),
];

fn operation(operation: Operation) -> types::Operation {
    match operation {
        Operation::GetKeyMetadata => types::Operation::GetKeyMetadata,
        Operation::Encrypt => types::Operation::Encrypt,
        Operation::Decrypt => types::Operation::Decrypt,
    }
}

fn identity(identity: &Identity) -> types::Identity<'_> {
    match identity {
        Identity::Arn(Arn { partition, service, region, account, resource, role }) => {
            types::Identity::Arn(types::Arn {
                partition,
                service,
                region,
                account,
                resource,
                role: role.as_deref(),
            })
        }
        Identity::Service(name) => types::Identity::Service(name),
        Identity::Other(text) => types::Identity::Other(text),
    }
}

/// A key that two queries share exactly when the component is given the same.
pub(super) fn key(view: &types::Query<'_>) -> Vec<u8> {
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
