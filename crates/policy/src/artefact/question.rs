//! A query as people write it: in cases (TOML) and for `holdfast policy run` (JSON), by the names that rules use.

use std::collections::BTreeMap;

use holdfast_gate::arn::identity;
use holdfast_gate::query::{DecryptCounts, Operation, Query};
use holdfast_gate::sigv4::parse_date_time;
use serde::Deserialize;

/// Monday, 2026-01-05T12:00:00Z: the time of a question that names none.
const DEFAULT_TIME: u64 = 1_767_614_400;

/// A query of which everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// The key store's name; `test` where left out.
    pub key_store: Option<String>,
    /// Whose credential signs.
    pub access_key_id: Option<String>,
    /// The external key id; `test` where left out.
    pub key: Option<String>,
    /// `GetKeyMetadata`, `Encrypt` or `Decrypt`; needed.
    pub operation: Option<String>,
    /// `awsPrincipalArn`.
    pub principal: Option<String>,
    /// `kmsKeyArn`.
    pub kms_key: Option<String>,
    /// `kmsOperation`; the same as the operation where left out.
    pub kms_operation: Option<String>,
    /// `kmsRequestId`.
    pub kms_request_id: Option<String>,
    /// `kmsViaService`.
    pub via_service: Option<String>,
    /// `awsSourceVpc`.
    pub source_vpc: Option<String>,
    /// `awsSourceVpce`.
    pub source_vpce: Option<String>,
    /// Other members of requestMetadata.
    pub other_metadata: Option<BTreeMap<String, String>>,
    /// The client certificate's subject.
    pub tls_peer: Option<String>,
    /// When.
    pub time: Option<Time>,
    /// What the principal decrypted before.
    pub decrypts: Option<Decrypts>,
}

/// A time: seconds since 1970, or RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Time {
    /// Since 1970-01-01T00:00:00Z.
    Seconds(u64),
    /// `2026-01-05T12:00:00Z` in quotes.
    Text(String),
    /// The same as TOML has it.
    Toml(toml::value::Datetime),
}

/// Counts; those left out are 1, the request itself.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Decrypts {
    /// In the last minute.
    pub minute: u32,
    /// In the last hour.
    pub hour: u32,
    /// In the last minute with this key.
    pub key_minute: u32,
    /// In the last hour with this key.
    pub key_hour: u32,
}

impl Default for Decrypts {
    fn default() -> Decrypts {
        Decrypts { minute: 1, hour: 1, key_minute: 1, key_hour: 1 }
    }
}

impl Decrypts {
    fn counts(self) -> DecryptCounts {
        let Decrypts { minute, hour, key_minute, key_hour } = self;
        DecryptCounts { minute, hour, key_minute, key_hour }
    }
}

/// Why a question isn't one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// No such operation.
    #[error("operation {0:?}: it is \"GetKeyMetadata\", \"Encrypt\" or \"Decrypt\"")]
    Operation(String),
    /// Not a time.
    #[error("time {0:?}: it is seconds since 1970 or like 2026-01-05T12:00:00Z")]
    Time(String),
}

/// Reads the name of an operation as the specification spells it.
pub(crate) fn operation(name: &str) -> Result<Operation, QuestionError> {
    let known = [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt];
    let wrong = || QuestionError::Operation(name.to_owned());
    known.into_iter().find(|operation| operation.name() == name).ok_or_else(wrong)
}

/// Seconds since 1970 of a time in RFC 3339, in UTC; fractions of a second are dropped.
pub fn parse_time(text: &str) -> Result<u64, QuestionError> {
    let wrong = || QuestionError::Time(text.to_owned());
    let whole = text.strip_suffix('Z').ok_or_else(wrong)?;
    let whole = whole.split_once('.').map_or(whole, |(whole, _)| whole);
    let basic: String = whole.chars().filter(|c| *c != '-' && *c != ':').collect();
    let basic = format!("{basic}Z");
    let bytes = basic.as_bytes().try_into().map_err(|_| wrong())?;
    parse_date_time(bytes).ok_or_else(wrong)
}

impl Time {
    fn seconds(&self) -> Result<u64, QuestionError> {
        match self {
            Time::Seconds(seconds) => Ok(*seconds),
            Time::Text(text) => parse_time(text),
            Time::Toml(time) => parse_time(&time.to_string()),
        }
    }
}

impl Question {
    /// The same, with what is left out taken from `defaults`.
    pub fn or(self, defaults: &Question) -> Question {
        macro_rules! or {
            ($($field:ident),*) => {
                Question { $($field: self.$field.or_else(|| defaults.$field.clone())),* }
            };
        }
        or!(
            key_store,
            access_key_id,
            key,
            operation,
            principal,
            kms_key,
            kms_operation,
            kms_request_id,
            via_service,
            source_vpc,
            source_vpce,
            other_metadata,
            tls_peer,
            time,
            decrypts
        )
    }

    /// The same query, but with what is said here.
    pub fn over(self, query: Query) -> Result<Query, QuestionError> {
        let principal_text = self.principal.unwrap_or(query.principal_text);
        Ok(Query {
            key_store: self.key_store.unwrap_or(query.key_store),
            access_key_id: self.access_key_id.unwrap_or(query.access_key_id),
            key_id: self.key.unwrap_or(query.key_id),
            operation: self.operation.as_deref().map_or(Ok(query.operation), operation)?,
            principal: identity(&principal_text),
            principal_text,
            kms_key: self.kms_key.as_deref().map(identity).or(query.kms_key),
            kms_operation: self.kms_operation.unwrap_or(query.kms_operation),
            kms_request_id: self.kms_request_id.unwrap_or(query.kms_request_id),
            via_service: self.via_service.or(query.via_service),
            source_vpc: self.source_vpc.or(query.source_vpc),
            source_vpce: self.source_vpce.or(query.source_vpce),
            other_metadata: self
                .other_metadata
                .map_or(query.other_metadata, |other| other.into_iter().collect()),
            tls_peer: self.tls_peer.or(query.tls_peer),
            time: self.time.as_ref().map_or(Ok(query.time), Time::seconds)?,
            decrypts: self.decrypts.map_or(query.decrypts, Decrypts::counts),
        })
    }

    /// The query that the gate would make of such a request.
    pub fn query(&self) -> Result<Query, QuestionError> {
        let operation = operation(self.operation.as_deref().unwrap_or_default())?;
        let text = |field: &Option<String>, default: &str| match field {
            Some(text) => text.clone(),
            None => default.to_owned(),
        };
        let principal = text(&self.principal, "");
        let other = self.other_metadata.iter().flatten();
        Ok(Query {
            key_store: text(&self.key_store, "test"),
            access_key_id: text(&self.access_key_id, "AAAAAAAAAAAAAAAAAAAA"),
            key_id: text(&self.key, "test"),
            operation,
            principal: identity(&principal),
            principal_text: principal,
            kms_key: self.kms_key.as_deref().map(identity),
            kms_operation: text(&self.kms_operation, operation.name()),
            kms_request_id: text(&self.kms_request_id, "00000000-0000-0000-0000-000000000000"),
            via_service: self.via_service.clone(),
            source_vpc: self.source_vpc.clone(),
            source_vpce: self.source_vpce.clone(),
            other_metadata: other.map(|(name, value)| (name.clone(), value.clone())).collect(),
            tls_peer: self.tls_peer.clone(),
            time: self.time.as_ref().map_or(Ok(DEFAULT_TIME), Time::seconds)?,
            decrypts: self.decrypts.unwrap_or_default().counts(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_needs_only_an_operation() {
        let question: Question = toml::from_str("operation = 'Encrypt'").unwrap();
        let query = question.query().unwrap();
        assert_eq!((query.kms_operation.as_str(), query.hour_and_weekday()), ("Encrypt", (12, 1)));
        assert_eq!(Question::default().query(), Err(QuestionError::Operation(String::new())));
        assert!(toml::from_str::<Question>("operator = 'Encrypt'").is_err());
    }

    #[test]
    fn a_time_is_seconds_or_a_date() {
        for text in ["1767614400", "'2026-01-05T12:00:00Z'", "2026-01-05T12:00:00Z", "2026-01-05T12:00:00.5Z"]
        {
            let question: Question = toml::from_str(&format!("operation='Decrypt'\ntime={text}")).unwrap();
            assert_eq!(question.query().unwrap().time, DEFAULT_TIME, "{text}");
        }
        let question: Question = toml::from_str("operation='Decrypt'\ntime='noon'").unwrap();
        assert_eq!(question.query(), Err(QuestionError::Time("noon".to_owned())));
    }

    #[test]
    fn what_is_left_out_comes_from_the_defaults() {
        let defaults: Question = toml::from_str("operation='Decrypt'\nkey='a'").unwrap();
        let own: Question = toml::from_str("key='b'").unwrap();
        let query = own.or(&defaults).query().unwrap();
        assert_eq!((query.operation, query.key_id.as_str()), (Operation::Decrypt, "b"));
    }

    #[test]
    fn what_is_said_goes_before_the_query_and_all_else_stays() {
        let query = toml::from_str::<Question>(
            "operation='Decrypt'\nkey='a'\nprincipal='someone'\nviaService='ebs'\ntime=1\ndecrypts={minute=7}",
        );
        let query = query.unwrap().query().unwrap();
        assert_eq!(Question::default().over(query.clone()), Ok(query.clone()));
        let own: Question = toml::from_str("key='b'\nprincipal='another'\noperation='Encrypt'").unwrap();
        let expected = Query {
            key_id: "b".to_owned(),
            operation: Operation::Encrypt,
            principal: identity("another"),
            principal_text: "another".to_owned(),
            ..query.clone()
        };
        assert_eq!(own.over(query.clone()), Ok(expected));
        let wrong: Question = toml::from_str("operation='Sign'").unwrap();
        assert_eq!(wrong.over(query), Err(QuestionError::Operation("Sign".to_owned())));
    }
}
