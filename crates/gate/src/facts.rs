//! The facts that a policy reads: what its component gets to see.

use crate::query::{DecryptCounts, Identity, Operation, Query};

/// A set of facts, one bit each in the order of `wit/policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u16);

const KEY_STORE: Facts = Facts(1);
const ACCESS_KEY_ID: Facts = Facts(1 << 1);
const KEY_ID: Facts = Facts(1 << 2);
const OPERATION: Facts = Facts(1 << 3);
const PRINCIPAL: Facts = Facts(1 << 4);
const KMS_KEY: Facts = Facts(1 << 5);
const KMS_OPERATION: Facts = Facts(1 << 6);
const KMS_REQUEST_ID: Facts = Facts(1 << 7);
const VIA_SERVICE: Facts = Facts(1 << 8);
const SOURCE_VPC: Facts = Facts(1 << 9);
const SOURCE_VPCE: Facts = Facts(1 << 10);
const OTHER_METADATA: Facts = Facts(1 << 11);
const TLS_PEER: Facts = Facts(1 << 12);
const TIME: Facts = Facts(1 << 13);
const CLOCK: Facts = Facts(1 << 14);
const DECRYPTS: Facts = Facts(1 << 15);

const NAMES: [(Facts, &str); 16] = [
    (KEY_STORE, "key-store"),
    (ACCESS_KEY_ID, "access-key-id"),
    (KEY_ID, "key-id"),
    (OPERATION, "operation"),
    (PRINCIPAL, "principal"),
    (KMS_KEY, "kms-key"),
    (KMS_OPERATION, "kms-operation"),
    (KMS_REQUEST_ID, "kms-request-id"),
    (VIA_SERVICE, "via-service"),
    (SOURCE_VPC, "source-vpc"),
    (SOURCE_VPCE, "source-vpce"),
    (OTHER_METADATA, "other-metadata"),
    (TLS_PEER, "tls-peer"),
    (TIME, "time"),
    (CLOCK, "clock"),
    (DECRYPTS, "decrypts"),
];

/// A query as a component gets it: facts that it didn't name are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// Empty where not read, like all texts.
    pub key_store: &'a str,
    /// Whose credential signed the request.
    pub access_key_id: &'a str,
    /// The external key id.
    pub key_id: &'a str,
    /// GetKeyMetadata where not read.
    pub operation: Operation,
    /// `None` where not read: an empty text that names nobody.
    pub principal: Option<&'a Identity>,
    /// The same as it was received.
    pub principal_text: &'a str,
    /// `kmsKeyArn`.
    pub kms_key: Option<&'a Identity>,
    /// `kmsOperation`.
    pub kms_operation: &'a str,
    /// `kmsRequestId`.
    pub kms_request_id: &'a str,
    /// `kmsViaService`.
    pub via_service: Option<&'a str>,
    /// `awsSourceVpc`.
    pub source_vpc: Option<&'a str>,
    /// `awsSourceVpce`.
    pub source_vpce: Option<&'a str>,
    /// The other members of requestMetadata.
    pub other_metadata: &'a [(String, String)],
    /// The TLS client's subject.
    pub tls_peer: Option<&'a str>,
    /// Seconds since 1970; 0 where not read, like all numbers.
    pub time: u64,
    /// Of the day, in UTC.
    pub hour: u8,
    /// 1 (Monday) to 7.
    pub weekday: u8,
    /// What came before.
    pub decrypts: DecryptCounts,
}

impl Facts {
    /// Of `description.reads`, the first fact in the lowest bit.
    pub fn from_bits(bits: u16) -> Facts {
        Facts(bits)
    }

    fn has(self, fact: Facts) -> bool {
        self.0 & fact.0 != 0
    }

    /// Whether the same values come again: not where each request has its own.
    pub fn repeat(self) -> bool {
        !self.has(TIME) && !self.has(KMS_REQUEST_ID) && !self.has(DECRYPTS)
    }

    /// The names of the facts, as `wit/policy` has them.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(fact, _)| self.has(*fact)).map(|(_, name)| *name).collect()
    }

    /// The time that the component's clocks show.
    pub fn time(self, query: &Query) -> u64 {
        if self.has(TIME) { query.time } else { 0 }
    }

    /// What of `query` these facts show.
    pub fn of(self, query: &Query) -> View<'_> {
        fn text(shown: bool, value: &str) -> &str {
            if shown { value } else { "" }
        }
        fn option(shown: bool, value: &Option<String>) -> Option<&str> {
            value.as_deref().filter(|_| shown)
        }
        let (hour, weekday) = if self.has(CLOCK) { query.hour_and_weekday() } else { (0, 0) };
        View {
            key_store: text(self.has(KEY_STORE), &query.key_store),
            access_key_id: text(self.has(ACCESS_KEY_ID), &query.access_key_id),
            key_id: text(self.has(KEY_ID), &query.key_id),
            operation: if self.has(OPERATION) { query.operation } else { Operation::GetKeyMetadata },
            principal: Some(&query.principal).filter(|_| self.has(PRINCIPAL)),
            principal_text: text(self.has(PRINCIPAL), &query.principal_text),
            kms_key: query.kms_key.as_ref().filter(|_| self.has(KMS_KEY)),
            kms_operation: text(self.has(KMS_OPERATION), &query.kms_operation),
            kms_request_id: text(self.has(KMS_REQUEST_ID), &query.kms_request_id),
            via_service: option(self.has(VIA_SERVICE), &query.via_service),
            source_vpc: option(self.has(SOURCE_VPC), &query.source_vpc),
            source_vpce: option(self.has(SOURCE_VPCE), &query.source_vpce),
            other_metadata: if self.has(OTHER_METADATA) { &query.other_metadata } else { &[] },
            tls_peer: option(self.has(TLS_PEER), &query.tls_peer),
            time: self.time(query),
            hour,
            weekday,
            decrypts: if self.has(DECRYPTS) { query.decrypts } else { DecryptCounts::default() },
        }
    }
}
