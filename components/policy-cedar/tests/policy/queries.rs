//! Queries and documents to test with.

use holdfast_policy_cedar::{Arn, Clock, DecryptCounts, Engine, Identity, Operation, Query, Source};

pub fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

/// An engine of one file of rules.
pub fn engine(rules: &str) -> Engine {
    Engine::configure(&[source("rules.cedar", rules)]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Takes an ARN apart as the gate does.
pub fn arn(text: &str) -> Identity {
    let mut parts = text.splitn(6, ':').skip(1).map(str::to_owned);
    let mut part = || parts.next().expect("six parts");
    let (partition, service, region, account, resource) = (part(), part(), part(), part(), part());
    let role = match service.as_str() {
        "iam" => resource.strip_prefix("role/").and_then(|path| path.rsplit('/').next()),
        "sts" => resource.strip_prefix("assumed-role/").and_then(|path| path.split('/').next()),
        _ => None,
    };
    let role = role.map(str::to_owned);
    Identity::Arn(Arn { partition, service, region, account, resource, role })
}

pub const APP: &str = "arn:aws:sts::111122223333:assumed-role/App/i-0123456789abcdef0";

/// Role `App` encrypts with the key `demo` for EBS through a VPC endpoint.
pub fn query() -> Query {
    Query {
        key_store: "frankfurt".to_owned(),
        access_key_id: "AAAAAAAAAAAAAAAAAAAA".to_owned(),
        key_id: "demo".to_owned(),
        operation: Operation::Encrypt,
        principal: arn(APP),
        principal_text: APP.to_owned(),
        kms_key: Some(arn("arn:aws:kms:eu-central-1:111122223333:key/0123")),
        kms_operation: "GenerateDataKey".to_owned(),
        kms_request_id: "r-1".to_owned(),
        via_service: Some("ebs".to_owned()),
        source_vpc: Some("vpc-1".to_owned()),
        source_vpce: Some("vpce-1".to_owned()),
        other_metadata: vec![("newField".to_owned(), "x".to_owned())],
        tls_peer: Some("CN=kms".to_owned()),
        time: 1_800_000_000,
        clock: Clock { hour: 8, weekday: 5 },
        decrypts: DecryptCounts { minute: 1, hour: 1, key_minute: 1, key_hour: 1 },
    }
}

/// The same by another principal.
pub fn by(text: &str) -> Query {
    Query { principal: arn(text), principal_text: text.to_owned(), ..query() }
}
