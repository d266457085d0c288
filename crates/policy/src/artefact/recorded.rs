//! Queries as the audit log has them: what was decided, and all that it was decided by.

use holdfast_gate::ErrorName;
use holdfast_gate::arn::identity;
use holdfast_gate::query::{DecryptCounts, Effect, Query};
use serde::Deserialize;

use crate::artefact::question::operation;
use crate::policy::PolicyIdentity;

/// A record that a policy decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What was asked. Its counts are those of the record, or zeros.
    pub query: Query,
    /// Whether the record has the counts.
    pub counted: bool,
    /// Whether the record has all that the policy saw; what is very long is cut.
    pub whole: bool,
    /// What was decided then.
    pub decided: Option<RecordedDecision>,
}

/// A decision of then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDecision {
    /// Whether it was allowed.
    pub effect: Effect,
    /// The rules that decided.
    pub rules: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    key_store: String,
    #[serde(default)]
    access_key_id: String,
    operation: String,
    #[serde(default)]
    key_id: String,
    #[serde(default)]
    policy_time: u64,
    tls_peer: Option<String>,
    request_metadata: Option<Metadata>,
    policy: Option<Decided>,
    error_name: Option<String>,
    decrypts: Option<[u32; 4]>,
    cut: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    aws_principal_arn: String,
    aws_source_vpc: Option<String>,
    aws_source_vpce: Option<String>,
    kms_key_arn: Option<String>,
    #[serde(default)]
    kms_operation: String,
    #[serde(default)]
    kms_request_id: String,
    kms_via_service: Option<String>,
    #[serde(default, deserialize_with = "pairs")]
    other: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Decided {
    /// None where the policy failed.
    effect: Option<String>,
    #[serde(default)]
    rules: Vec<String>,
}

/// The members of an object, in its order: that is how the policy saw them.
fn pairs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;
    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of texts")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Pairs)
}

impl Recorded {
    /// What was decided then, if `policy` can be asked the same now: one that reads the counts can't be without them.
    pub fn comparable(&self, policy: &PolicyIdentity) -> Option<&RecordedDecision> {
        let known = self.counted || !policy.reads.contains(&"decrypts");
        self.decided.as_ref().filter(|_| known && self.whole)
    }

    /// Reads one line. `None` for records of what no policy is asked about: health, counts of refusals, requests that
    /// were refused before.
    ///
    /// # Errors
    /// Where it isn't a record: what serde says.
    pub fn read(line: &[u8]) -> Result<Option<Recorded>, serde_json::Error> {
        let record: Record = match serde_json::from_slice(line) {
            Ok(record) => record,
            // Tallies of refused requests are records of another shape.
            Err(error) if error.is_data() => return Ok(None),
            Err(error) => return Err(error),
        };
        let (Ok(operation), Some(metadata)) = (operation(&record.operation), record.request_metadata) else {
            return Ok(None);
        };
        // Where no policy was configured, every request was denied.
        let unasked = || {
            let denied = record.error_name.as_deref() == Some(ErrorName::AccessDenied.as_str());
            denied.then(|| RecordedDecision { effect: Effect::Deny, rules: Vec::new() })
        };
        let decided = match record.policy {
            Some(Decided { effect, rules }) => effect.map(|effect| RecordedDecision {
                effect: if effect == "allow" { Effect::Allow } else { Effect::Deny },
                rules,
            }),
            None => unasked(),
        };
        let [minute, hour, key_minute, key_hour] = record.decrypts.unwrap_or_default();
        Ok(Some(Recorded {
            counted: record.decrypts.is_some(),
            whole: record.cut.is_none(),
            decided,
            query: Query {
                key_store: record.key_store,
                access_key_id: record.access_key_id,
                key_id: record.key_id,
                operation,
                principal: identity(&metadata.aws_principal_arn),
                principal_text: metadata.aws_principal_arn,
                kms_key: metadata.kms_key_arn.as_deref().map(identity),
                kms_operation: metadata.kms_operation,
                kms_request_id: metadata.kms_request_id,
                via_service: metadata.kms_via_service,
                source_vpc: metadata.aws_source_vpc,
                source_vpce: metadata.aws_source_vpce,
                other_metadata: metadata.other,
                tls_peer: record.tls_peer,
                time: record.policy_time,
                decrypts: DecryptCounts { minute, hour, key_minute, key_hour },
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_gate::query::Operation;

    #[test]
    fn a_record_has_all_that_its_query_had() {
        let line = br#"{"schema":1,"time":"2015-08-30T12:36:00.007Z","keyStore":"demo","accessKeyId":"ID",
            "operation":"Decrypt","keyId":"k","policyTime":1700000000,"client":"127.0.0.1:1","tlsPeer":"CN=kms",
            "requestMetadata":{"awsPrincipalArn":"arn:aws:sts::111122223333:assumed-role/App/s","awsSourceVpc":"vpc-1",
            "awsSourceVpce":"vpce-1","kmsKeyArn":"arn:aws:kms:eu-central-1:111122223333:key/1","kmsOperation":"Decrypt",
            "kmsRequestId":"r1","kmsViaService":"ebs","other":{"z":"1","a":"2"}},"decrypts":[1,2,3,4],
            "policy":{"effect":"allow","rules":["a","b"],"component":"c","revision":"r"},"status":200,"microseconds":5}"#;
        let recorded = Recorded::read(line).unwrap().unwrap();
        let principal = "arn:aws:sts::111122223333:assumed-role/App/s";
        let expected = Query {
            key_store: "demo".into(),
            access_key_id: "ID".into(),
            key_id: "k".into(),
            operation: Operation::Decrypt,
            principal: identity(principal),
            principal_text: principal.into(),
            kms_key: Some(identity("arn:aws:kms:eu-central-1:111122223333:key/1")),
            kms_operation: "Decrypt".into(),
            kms_request_id: "r1".into(),
            via_service: Some("ebs".into()),
            source_vpc: Some("vpc-1".into()),
            source_vpce: Some("vpce-1".into()),
            other_metadata: vec![("z".into(), "1".into()), ("a".into(), "2".into())],
            tls_peer: Some("CN=kms".into()),
            time: 1_700_000_000,
            decrypts: DecryptCounts { minute: 1, hour: 2, key_minute: 3, key_hour: 4 },
        };
        assert_eq!((recorded.query, recorded.counted), (expected, true));
        let then = RecordedDecision { effect: Effect::Allow, rules: vec!["a".into(), "b".into()] };
        assert_eq!(recorded.decided, Some(then));
    }

    #[test]
    fn what_no_policy_decided_is_told_apart() {
        let read = |line: &str| Recorded::read(line.as_bytes());
        assert!(read(r#"{"schema":1,"operation":"GetHealthStatus","keyStore":"demo"}"#).unwrap().is_none());
        assert!(read(r#"{"schema":1,"refused":7}"#).unwrap().is_none());
        assert!(read("{").is_err());
        let unasked = r#"{"operation":"Encrypt","requestMetadata":{},"errorName":"AccessDeniedException"}"#;
        let decided = read(unasked).unwrap().unwrap().decided;
        assert_eq!(decided, Some(RecordedDecision { effect: Effect::Deny, rules: Vec::new() }));
        let refused = r#"{"operation":"Encrypt","requestMetadata":{},"errorName":"ValidationException"}"#;
        assert_eq!(read(refused).unwrap().unwrap().decided, None);
        let failed = r#"{"operation":"Encrypt","requestMetadata":{},"decrypts":[0,0,0,0],
            "policy":{"component":"c","revision":"r"},"errorName":"InternalException"}"#;
        let failed = read(failed).unwrap().unwrap();
        assert_eq!((failed.decided, failed.counted), (None, true));
    }

    #[test]
    fn what_reads_counts_is_not_compared_where_the_record_has_none() {
        let policy = |reads: &[&'static str]| PolicyIdentity {
            component: String::new(),
            revision: String::new(),
            engine: String::new(),
            rules: Vec::new(),
            reads: reads.to_vec(),
        };
        let without = r#"{"operation":"Decrypt","requestMetadata":{},"errorName":"AccessDeniedException"}"#;
        let without = Recorded::read(without.as_bytes()).unwrap().unwrap();
        assert!(without.comparable(&policy(&["key-id"])).is_some());
        assert_eq!(without.comparable(&policy(&["key-id", "decrypts"])), None);
        let with = Recorded { counted: true, ..without };
        assert!(with.comparable(&policy(&["decrypts"])).is_some());
    }
}
