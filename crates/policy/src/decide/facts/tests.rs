use holdfast_gate::query::{Arn, Identity, Operation, Query};

use crate::decide::bindings::types::Facts;
use crate::decide::facts::{Reads, key};

fn query() -> Query {
    Query {
        key_store: "a".to_owned(),
        access_key_id: "b".to_owned(),
        key_id: "c".to_owned(),
        operation: Operation::Encrypt,
        principal: Identity::Other("d".to_owned()),
        principal_text: "d".to_owned(),
        kms_key: None,
        kms_operation: "e".to_owned(),
        kms_request_id: "f".to_owned(),
        via_service: None,
        source_vpc: None,
        source_vpce: None,
        other_metadata: Vec::new(),
        tls_peer: None,
        time: 1,
        decrypts: Default::default(),
    }
}

fn key_of(query: &Query, facts: Facts) -> Vec<u8> {
    let reads = Reads::new(facts);
    key(&reads.view(query, &reads.others(query)))
}

/// The query with one fact changed, for each fact.
fn changed() -> Vec<(Facts, Query)> {
    let text = || "x".to_owned();
    let arn = Identity::Arn(Arn { role: Some(text()), ..Arn::default() });
    vec![
        (Facts::KEY_STORE, Query { key_store: text(), ..query() }),
        (Facts::ACCESS_KEY_ID, Query { access_key_id: text(), ..query() }),
        (Facts::KEY_ID, Query { key_id: text(), ..query() }),
        (Facts::OPERATION, Query { operation: Operation::Decrypt, ..query() }),
        (Facts::PRINCIPAL, Query { principal: Identity::Service("d".to_owned()), ..query() }),
        (Facts::PRINCIPAL, Query { principal: arn.clone(), ..query() }),
        (Facts::PRINCIPAL, Query { principal_text: text(), ..query() }),
        (Facts::KMS_KEY, Query { kms_key: Some(arn), ..query() }),
        (Facts::KMS_OPERATION, Query { kms_operation: text(), ..query() }),
        (Facts::KMS_REQUEST_ID, Query { kms_request_id: text(), ..query() }),
        (Facts::VIA_SERVICE, Query { via_service: Some(text()), ..query() }),
        (Facts::VIA_SERVICE, Query { via_service: Some(String::new()), ..query() }),
        (Facts::SOURCE_VPC, Query { source_vpc: Some(text()), ..query() }),
        (Facts::SOURCE_VPCE, Query { source_vpce: Some(text()), ..query() }),
        (Facts::OTHER_METADATA, Query { other_metadata: vec![(text(), text())], ..query() }),
        (Facts::TLS_PEER, Query { tls_peer: Some(text()), ..query() }),
        (Facts::TIME, Query { time: 2, ..query() }),
    ]
}

#[test]
fn a_fact_that_is_read_makes_another_key_and_any_other_does_not() {
    for (fact, other) in changed() {
        assert_ne!(key_of(&query(), fact), key_of(&other, fact), "{other:?}");
        let all_but = Facts::all() & !fact;
        assert_eq!(key_of(&query(), all_but), key_of(&other, all_but), "{other:?}");
    }
}

#[test]
fn the_clock_makes_another_key_each_hour_of_the_week_where_it_is_read() {
    let at = |hour: u64, facts| key_of(&Query { time: hour * 3600 + 1, ..query() }, facts);
    let reads = Facts::KEY_ID | Facts::CLOCK;
    assert_eq!(at(1, reads), key_of(&Query { time: 2 * 3600 - 1, ..query() }, reads));
    assert_eq!(at(1, reads), at(1 + 7 * 24, reads), "a week later");
    for later in [2, 1 + 24] {
        assert_ne!(at(1, reads), at(later, reads), "hour {later}");
        assert_eq!(at(1, Facts::KEY_ID), at(later, Facts::KEY_ID), "hour {later}, not read");
    }
}

#[test]
fn sessions_share_a_key_where_they_are_not_read() {
    let of = |session: &str| {
        let principal_text = format!("arn:aws:sts::111122223333:assumed-role/App/{session}");
        Query { principal: holdfast_gate::arn::identity(&principal_text), principal_text, ..query() }
    };
    assert_eq!(key_of(&of("a"), Facts::PRINCIPAL), key_of(&of("b"), Facts::PRINCIPAL));
    let both = Facts::PRINCIPAL | Facts::PRINCIPAL_SESSION;
    assert_ne!(key_of(&of("a"), both), key_of(&of("b"), both));
}

#[test]
fn values_never_run_into_each_other() {
    let pair = |a: &str, b: &str| Query { key_store: a.to_owned(), access_key_id: b.to_owned(), ..query() };
    let facts = Facts::KEY_STORE | Facts::ACCESS_KEY_ID;
    assert_ne!(key_of(&pair("ab", "c"), facts), key_of(&pair("a", "bc"), facts));
    let others = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        key_of(&Query { other_metadata: pairs, ..query() }, Facts::OTHER_METADATA)
    };
    assert_ne!(others(&[("a", "b")]), others(&[("a", ""), ("b", "")]));
}

#[test]
fn requests_own_values_are_never_repeated() {
    for fact in [Facts::TIME, Facts::KMS_REQUEST_ID, Facts::DECRYPTS] {
        assert!(!Reads::new(fact | Facts::KEY_ID).repeat());
    }
    assert!(Reads::new(Facts::all() & !Facts::TIME & !Facts::KMS_REQUEST_ID & !Facts::DECRYPTS).repeat());
}
