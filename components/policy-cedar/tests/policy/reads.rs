use holdfast_policy_cedar::{Clock, DecryptCounts, Engine, Facts, Identity, Operation, Query};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::queries::{arn, engine, query, source};

fn reads(rule: &str) -> Facts {
    engine(rule).describe().reads
}

#[test]
fn each_part_of_a_rule_declares_its_fact() {
    assert_eq!(reads(""), Facts::empty());
    assert_eq!(reads("permit (principal, action, resource);"), Facts::empty());
    for (rule, facts) in [
        (r#"permit (principal is Role, action, resource);"#, Facts::PRINCIPAL),
        (r#"permit (principal in Account::"111122223333", action, resource);"#, Facts::PRINCIPAL),
        (r#"permit (principal, action == Action::"Encrypt", resource);"#, Facts::OPERATION),
        (r#"permit (principal, action, resource == Key::"demo");"#, Facts::KEY_ID),
        (r#"permit (principal, action, resource in KeyStore::"a");"#, Facts::KEY_STORE),
        (r#"permit (principal, action, resource in Group::"a");"#, Facts::KEY_ID | Facts::KEY_STORE),
    ] {
        assert_eq!(reads(rule), facts, "{rule}");
    }
    for (condition, facts) in [
        (r#"context.accessKeyId == """#, Facts::ACCESS_KEY_ID),
        (r#"context.kmsOperation like "*""#, Facts::KMS_OPERATION),
        (r#"context.kmsRequestId == "a""#, Facts::KMS_REQUEST_ID),
        (r#"context has kmsKey.account"#, Facts::KMS_KEY),
        (r#"context has viaService"#, Facts::VIA_SERVICE),
        (
            r#"["a"].contains(context.kmsOperation) || {a: context has sourceVpc}.a"#,
            Facts::KMS_OPERATION | Facts::SOURCE_VPC,
        ),
        (
            r#"if context has sourceVpce then context has tlsPeer else true"#,
            Facts::SOURCE_VPCE | Facts::TLS_PEER,
        ),
        (r#"context.otherMetadata.hasTag("a")"#, Facts::OTHER_METADATA),
        (r#"-context.time < 0"#, Facts::TIME),
        (r#"context.clock.hour < 8"#, Facts::CLOCK),
        (r#"context.decrypts.keyHour > 100"#, Facts::DECRYPTS),
        (r#"action in [Action::"Encrypt"]"#, Facts::OPERATION),
        (r#"resource in KeyStore::"a""#, Facts::KEY_ID | Facts::KEY_STORE),
        (r#"Role::"a/b" in Account::"a""#, Facts::PRINCIPAL),
        (r#"principal is Role && principal.name == "App""#, Facts::PRINCIPAL),
        (r#"principal is Role && principal has session"#, Facts::PRINCIPAL | Facts::PRINCIPAL_SESSION),
        (r#"principal.arn like "*:root""#, Facts::PRINCIPAL | Facts::PRINCIPAL_SESSION),
        (r#"{a: principal}.a.arn like "*:root""#, Facts::PRINCIPAL | Facts::PRINCIPAL_SESSION),
        (r#"Role::"a/b" has session"#, Facts::PRINCIPAL | Facts::PRINCIPAL_SESSION),
        (r#"context has kmsKey && context.kmsKey.arn like "*:key/1""#, Facts::KMS_KEY),
        (r#"OtherMetadata::"request".hasTag("a")"#, Facts::all()),
        (r#"context == context"#, Facts::all()),
    ] {
        let rule = format!("permit (principal, action, resource) unless {{ {condition} }};");
        assert_eq!(reads(&rule), facts, "{condition}");
    }
    let two =
        r#"permit (principal, action, resource == Key::"a"); forbid (principal is Root, action, resource);"#;
    assert_eq!(reads(two), Facts::KEY_ID | Facts::PRINCIPAL);
}

const NO_DECRYPTS: DecryptCounts = DecryptCounts { minute: 0, hour: 0, key_minute: 0, key_hour: 0 };

/// What the host gives the engine: facts that it didn't declare are empty.
fn blank(query: &Query, reads: Facts) -> Query {
    let has = |fact| reads.contains(fact);
    let text = |fact, value: &String| if has(fact) { value.clone() } else { String::new() };
    let option = |fact, value: &Option<String>| value.clone().filter(|_| has(fact));
    let mut principal_text = text(Facts::PRINCIPAL, &query.principal_text);
    if !has(Facts::PRINCIPAL_SESSION) {
        // As the gate does; `arn:aws:sts::12345:...` is of no account.
        let of_account = principal_text.starts_with("arn:aws:sts::111122223333:");
        let cut = principal_text.strip_suffix("/s").filter(|_| of_account);
        principal_text = cut.unwrap_or(&principal_text).to_owned();
    }
    Query {
        key_store: text(Facts::KEY_STORE, &query.key_store),
        access_key_id: text(Facts::ACCESS_KEY_ID, &query.access_key_id),
        key_id: text(Facts::KEY_ID, &query.key_id),
        operation: if has(Facts::OPERATION) { query.operation } else { Operation::GetKeyMetadata },
        principal: if has(Facts::PRINCIPAL) { arn(&principal_text) } else { Identity::Other(String::new()) },
        principal_text,
        kms_key: query.kms_key.clone().filter(|_| has(Facts::KMS_KEY)),
        kms_operation: text(Facts::KMS_OPERATION, &query.kms_operation),
        kms_request_id: text(Facts::KMS_REQUEST_ID, &query.kms_request_id),
        via_service: option(Facts::VIA_SERVICE, &query.via_service),
        source_vpc: option(Facts::SOURCE_VPC, &query.source_vpc),
        source_vpce: option(Facts::SOURCE_VPCE, &query.source_vpce),
        other_metadata: if has(Facts::OTHER_METADATA) { query.other_metadata.clone() } else { Vec::new() },
        tls_peer: option(Facts::TLS_PEER, &query.tls_peer),
        time: if has(Facts::TIME) { query.time } else { 0 },
        clock: if has(Facts::CLOCK) { query.clock } else { Clock { hour: 0, weekday: 0 } },
        decrypts: if has(Facts::DECRYPTS) { query.decrypts } else { NO_DECRYPTS },
    }
}

/// Conditions that depend on one fact or several, in every form that reaches a fact.
const CONDITIONS: [&str; 37] = [
    r#"true"#,
    r#"principal is Role"#,
    r#"principal == Role::"111122223333/App""#,
    r#"principal in Account::"111122223333""#,
    r#"principal in [Group::"all", Account::"444455556666"]"#,
    r#"principal is Role && principal has session"#,
    r#"principal is Role && principal has session && principal.session == "s""#,
    r#"principal is Role && principal.name == "App""#,
    r#"principal == Other::"arn:aws:sts::12345:assumed-role/App/s""#,
    r#"(if context has tlsPeer then principal else principal).arn like "*/s""#,
    r#"context has kmsKey && context.kmsKey.arn like "*:key/0123""#,
    r#"principal.arn like "arn:*""#,
    r#"Role::"111122223333/App" in Account::"111122223333""#,
    r#"Role::"111122223333/App" in Group::"all""#,
    r#"Role::"111122223333/App" has name"#,
    r#"Key::"demo" in KeyStore::"frankfurt""#,
    r#"Key::"demo" in Group::"tests""#,
    r#"KeyStore::"frankfurt" in Group::"europe""#,
    r#"OtherMetadata::"request".hasTag("newField")"#,
    r#"action == Action::"Decrypt""#,
    r#"[Action::"Encrypt", Action::"Decrypt"].contains(action)"#,
    r#"resource == Key::"demo""#,
    r#"resource in KeyStore::"frankfurt""#,
    r#"resource in Group::"europe""#,
    r#"context.accessKeyId == "AAAAAAAAAAAAAAAAAAAA""#,
    r#"context.kmsOperation like "Gen*""#,
    r#"context.kmsRequestId == "r-1""#,
    r#"context has kmsKey && context.kmsKey.account == "111122223333""#,
    r#"context has viaService"#,
    r#"context has sourceVpc && ["vpc-1", "vpc-2"].contains(context.sourceVpc)"#,
    r#"context has sourceVpce && context.sourceVpce != "vpce-1""#,
    r#"context.otherMetadata.hasTag("newField") && context.otherMetadata.getTag("newField") == "x""#,
    r#"context has tlsPeer && context.tlsPeer == "CN=kms""#,
    r#"context.time * 4611686018427387904 == 0"#,
    r#"context.clock.hour >= 8 && context.clock.weekday < 6"#,
    r#"context.decrypts.keyHour > 100 || context.decrypts.minute > 10"#,
    r#"{a: context}.a has viaService"#,
];

const SCOPES: [&str; 9] = [
    "principal, action, resource",
    r#"principal == Role::"111122223333/App", action, resource"#,
    r#"principal in Group::"all", action, resource"#,
    r#"principal is User in Account::"444455556666", action, resource"#,
    r#"principal, action == Action::"Encrypt", resource"#,
    r#"principal, action in [Action::"Encrypt", Action::"Decrypt"], resource"#,
    r#"principal, action, resource == Key::"demo""#,
    r#"principal, action, resource in KeyStore::"frankfurt""#,
    r#"principal, action, resource is Key in Group::"europe""#,
];

const GROUPS: &str = r#"[
    { "uid": { "type": "Role", "id": "111122223333/App" }, "attrs": {}, "parents": [{ "type": "Group", "id": "all" }] },
    { "uid": { "type": "Key", "id": "demo" }, "attrs": {}, "parents": [{ "type": "Group", "id": "tests" }] },
    { "uid": { "type": "KeyStore", "id": "frankfurt" }, "attrs": {}, "parents": [{ "type": "Group", "id": "europe" }] }
]"#;

fn rule() -> impl Strategy<Value = String> {
    let clause = (
        select(vec!["when", "unless"]),
        select(&CONDITIONS[..]),
        select(vec!["&&", "||"]),
        select(&CONDITIONS[..]),
    )
        .prop_map(|(word, left, operator, right)| format!("{word} {{ ({left}) {operator} ({right}) }}"));
    (select(vec!["permit", "permit", "forbid"]), select(&SCOPES[..]), proptest::collection::vec(clause, 0..3))
        .prop_map(|(effect, scope, clauses)| format!("{effect} ({scope}) {};", clauses.join(" ")))
}

fn queries() -> impl Strategy<Value = Query> {
    let text = |values: &[&'static str]| select(values.to_vec()).prop_map(str::to_owned);
    let option =
        |values: &[&'static str]| proptest::option::of(select(values.to_vec()).prop_map(str::to_owned));
    let principal = select(vec![
        "arn:aws:sts::111122223333:assumed-role/App/s",
        "arn:aws:iam::111122223333:role/App",
        "arn:aws:iam::444455556666:user/Alice",
        "arn:aws:iam::111122223333:root",
        "arn:aws:s3:::bucket",
        "arn:aws:sts::12345:assumed-role/App/s",
    ]);
    let who = (
        principal,
        text(&["frankfurt", "ohio"]),
        text(&["demo", "other"]),
        select(vec![Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt]),
    );
    let context = (
        text(&["AAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBB"]),
        text(&["GenerateDataKey", "Decrypt"]),
        text(&["r-1", "r-2"]),
        option(&["ebs", "rds"]),
        option(&["vpc-1", "vpc-3"]),
        option(&["vpce-1", "vpce-2"]),
        option(&["CN=kms", "CN=other"]),
    );
    let rest = (
        subsequence(vec![("newField", "x"), ("other", "y")], 0..=2),
        any::<bool>(),
        select(vec![0u64, 1, 2, 3]),
        select(vec![3u8, 8, 12]),
        select(vec![5u32, 11, 200]),
    );
    (who, context, rest).prop_map(
        |((principal, key_store, key_id, operation), context, (others, with_key, time, hour, count))| {
            let (
                access_key_id,
                kms_operation,
                kms_request_id,
                via_service,
                source_vpc,
                source_vpce,
                tls_peer,
            ) = context;
            Query {
                key_store,
                access_key_id,
                key_id,
                operation,
                principal: arn(principal),
                principal_text: principal.to_owned(),
                kms_key: query().kms_key.filter(|_| with_key),
                kms_operation,
                kms_request_id,
                via_service,
                source_vpc,
                source_vpce,
                other_metadata: others
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                tls_peer,
                time,
                clock: Clock { hour, weekday: hour % 7 + 1 },
                decrypts: DecryptCounts { minute: count, hour: count, key_minute: count, key_hour: count },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn undeclared_facts_change_no_decision(
        rules in proptest::collection::vec(rule(), 1..4),
        queries in proptest::collection::vec(queries(), 8),
    ) {
        let document = [source("rules.cedar", &rules.join("\n")), source("groups.json", GROUPS)];
        // Some combinations can never apply, which is refused.
        let configured = Engine::configure(&document);
        prop_assume!(configured.is_ok());
        if let Ok(engine) = configured {
            let reads = engine.describe().reads;
            for query in queries {
                let told = engine.evaluate(&blank(&query, reads));
                prop_assert_eq!(engine.evaluate_with(&query, Facts::all()), told, "{:?}", reads);
            }
        }
    }

    #[test]
    fn a_scope_means_what_it_says_as_a_condition(
        rules in proptest::collection::vec((select(vec!["permit", "permit", "forbid"]), select(SCOPED.to_vec())), 1..6),
        queries in proptest::collection::vec(queries(), 8),
    ) {
        let number = |at: usize| format!("@id(\"{at}\") ");
        let scopes: String = rules.iter().enumerate()
            .map(|(at, (effect, (scope, _)))| format!("{}{effect} ({scope});", number(at)))
            .collect();
        let conditions: String = rules.iter().enumerate()
            .map(|(at, (effect, (_, condition)))| {
                format!("{}{effect} (principal, action, resource) when {{ {condition} }};", number(at))
            })
            .collect();
        let (scopes, conditions) = (engine(&scopes), engine(&conditions));
        for query in queries {
            prop_assert_eq!(scopes.evaluate(&query), conditions.evaluate(&query));
        }
    }
}

/// Scopes, and the same as conditions: the engine looks for rules by their scopes.
const SCOPED: [(&str, &str); 7] = [
    ("principal, action, resource", "true || context.time == 0"),
    (
        r#"principal == Role::"111122223333/App", action, resource"#,
        r#"principal == Role::"111122223333/App""#,
    ),
    (
        r#"principal == Role::"111122223333/App", action == Action::"Encrypt", resource"#,
        r#"principal == Role::"111122223333/App" && action == Action::"Encrypt""#,
    ),
    (
        r#"principal == User::"444455556666/Alice", action in [Action::"Encrypt", Action::"Decrypt"], resource"#,
        r#"principal == User::"444455556666/Alice" && action in [Action::"Encrypt", Action::"Decrypt"]"#,
    ),
    (r#"principal in Account::"111122223333", action, resource"#, r#"principal in Account::"111122223333""#),
    (r#"principal, action in [Action::"Decrypt"], resource"#, r#"action in [Action::"Decrypt"]"#),
    (r#"principal, action, resource == Key::"demo""#, r#"resource == Key::"demo""#),
];
