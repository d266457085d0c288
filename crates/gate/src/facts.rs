//! The facts that a policy reads: what its component gets to see.

use crate::query::{Arn, DecryptCounts, Identity, Operation, Query};

/// A set of facts, one bit each in the order of `wit/policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u32);

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
const PRINCIPAL_SESSION: Facts = Facts(1 << 16);

const NAMES: [(Facts, &str); 17] = [
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
    (PRINCIPAL_SESSION, "principal-session"),
];

/// Who a text names: an [`Identity`] of which a part may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// An Amazon Resource Name.
    Arn {
        /// Such as `aws`.
        partition: &'a str,
        /// Such as `sts`.
        service: &'a str,
        /// Empty for global services.
        region: &'a str,
        /// Its twelve digits, or whatever stands there.
        account: &'a str,
        /// All after the fifth colon.
        resource: &'a str,
        /// The role's name.
        role: Option<&'a str>,
    },
    /// A service principal.
    Service(&'a str),
    /// Any other text.
    Other(&'a str),
}

impl<'a> From<&'a Identity> for Named<'a> {
    fn from(identity: &'a Identity) -> Named<'a> {
        match identity {
            Identity::Arn(Arn { partition, service, region, account, resource, role }) => {
                Named::Arn { partition, service, region, account, resource, role: role.as_deref() }
            }
            Identity::Service(name) => Named::Service(name),
            Identity::Other(text) => Named::Other(text),
        }
    }
}

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
    pub principal: Option<Named<'a>>,
    /// The same as it was received.
    pub principal_text: &'a str,
    /// `kmsKeyArn`.
    pub kms_key: Option<Named<'a>>,
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
    pub fn from_bits(bits: u32) -> Facts {
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
        let (principal, principal_text) = self.principal(query);
        let (hour, weekday) = if self.has(CLOCK) { query.hour_and_weekday() } else { (0, 0) };
        View {
            key_store: text(self.has(KEY_STORE), &query.key_store),
            access_key_id: text(self.has(ACCESS_KEY_ID), &query.access_key_id),
            key_id: text(self.has(KEY_ID), &query.key_id),
            operation: if self.has(OPERATION) { query.operation } else { Operation::GetKeyMetadata },
            principal,
            principal_text,
            kms_key: query.kms_key.as_ref().filter(|_| self.has(KMS_KEY)).map(Named::from),
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
    /// The principal and its text, without the session of an assumed role where that isn't shown.
    fn principal(self, query: &Query) -> (Option<Named<'_>>, &str) {
        if !self.has(PRINCIPAL) {
            return (None, "");
        }
        let (mut named, text) = (Named::from(&query.principal), query.principal_text.as_str());
        // Of an account that isn't one, nothing is known of what its text means.
        if let Named::Arn { service: "sts", account, resource, role: Some(_), .. } = &mut named
            && !self.has(PRINCIPAL_SESSION)
            && is_account(account)
        {
            // `assumed-role/NAME/SESSION`; the resource is the end of the text.
            let sessionless = resource.match_indices('/').nth(1).map_or(resource.len(), |(at, _)| at);
            let end = text.len().saturating_sub(resource.len() - sessionless);
            *resource = &resource[..sessionless];
            return (Some(named), text.get(..end).unwrap_or_default());
        }
        (Some(named), text)
    }
}

/// Twelve digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::identity;

    fn shown(principal: &str, facts: Facts) -> (String, String) {
        let query = Query {
            key_store: String::new(),
            access_key_id: String::new(),
            key_id: String::new(),
            operation: Operation::Encrypt,
            principal: identity(principal),
            principal_text: principal.to_owned(),
            kms_key: None,
            kms_operation: String::new(),
            kms_request_id: String::new(),
            via_service: None,
            source_vpc: None,
            source_vpce: None,
            other_metadata: Vec::new(),
            tls_peer: None,
            time: 0,
            decrypts: DecryptCounts::default(),
        };
        let view = facts.of(&query);
        let resource = match view.principal {
            Some(Named::Arn { resource, role, .. }) => format!("{resource} {}", role.unwrap_or("-")),
            Some(Named::Service(text) | Named::Other(text)) => text.to_owned(),
            None => "nobody".to_owned(),
        };
        (resource, view.principal_text.to_owned())
    }

    fn pair(resource: &str, text: &str) -> (String, String) {
        (resource.to_owned(), text.to_owned())
    }

    #[test]
    fn a_session_is_shown_to_who_reads_it() {
        let whole = "arn:aws:sts::111122223333:assumed-role/App/i-1/x:y";
        let both = Facts(PRINCIPAL.0 | PRINCIPAL_SESSION.0);
        assert_eq!(shown(whole, both), pair("assumed-role/App/i-1/x:y App", whole));
        let cut = pair("assumed-role/App App", "arn:aws:sts::111122223333:assumed-role/App");
        assert_eq!(shown(whole, PRINCIPAL), cut);
        assert_eq!(shown("arn:aws:sts::111122223333:assumed-role/App", PRINCIPAL), cut);
        assert_eq!(shown("arn:aws:sts::111122223333:assumed-role/App/", PRINCIPAL), cut);
        assert_eq!(shown(whole, PRINCIPAL_SESSION), pair("nobody", ""));
    }

    #[test]
    fn nobody_else_loses_a_part() {
        for (principal, resource) in [
            ("arn:aws:iam::111122223333:role/a/path/App", "role/a/path/App App"),
            ("arn:aws:iam::111122223333:user/a/path/Alice", "user/a/path/Alice -"),
            ("arn:aws:sts::111122223333:federated-user/a/b", "federated-user/a/b -"),
            ("arn:aws:sts::111122223333:assumed-role//b", "assumed-role//b -"),
            ("arn:aws:sts::12345:assumed-role/App/s", "assumed-role/App/s App"),
            ("arn:aws:sts::11112222333a:assumed-role/App/s", "assumed-role/App/s App"),
            ("ec2.amazonaws.com", "ec2.amazonaws.com"),
            ("AWS Internal", "AWS Internal"),
        ] {
            assert_eq!(shown(principal, PRINCIPAL), pair(resource, principal));
        }
    }

    #[test]
    fn every_fact_has_a_name_in_the_order_of_its_bit() {
        for (at, (fact, name)) in NAMES.iter().enumerate() {
            assert_eq!((fact.0, Facts::from_bits(fact.0).names()), (1 << at, vec![*name]));
        }
    }
}
