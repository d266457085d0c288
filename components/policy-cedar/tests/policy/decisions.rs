use holdfast_policy_cedar::{Decision, Effect, Identity, Operation, Query};

use crate::queries::{by, engine, query};

/// Decides with one rule, `permit (SCOPE) when { CONDITION };`.
fn permitted_when(condition: &str, query: &Query) -> bool {
    let engine = engine(&format!("permit (principal, action, resource) when {{ {condition} }};"));
    let decision = engine.evaluate(query);
    assert_eq!(decision.errors, Vec::<String>::new());
    decision.effect == Effect::Allow
}

const APP_VOLUMES: &str = r#"
    @id("app-volumes")
    permit (
        principal == Role::"111122223333/App",
        action in [Action::"Encrypt", Action::"Decrypt"],
        resource == Key::"demo"
    )
    when {
        context has viaService && context.viaService == "ebs" &&
        context has sourceVpce && context.sourceVpce == "vpce-1"
    };"#;

#[test]
fn one_rule_ties_a_role_in_any_session_to_a_service_and_an_endpoint() {
    let engine = engine(APP_VOLUMES);
    let allowed = |query: &Query| engine.evaluate(query).effect == Effect::Allow;
    assert!(allowed(&query()));
    assert!(allowed(&Query { operation: Operation::Decrypt, ..query() }));
    assert!(allowed(&by("arn:aws:sts::111122223333:assumed-role/App/another-session")));
    assert!(allowed(&by("arn:aws:iam::111122223333:role/some/path/App")));

    assert!(!allowed(&by("arn:aws:sts::111122223333:assumed-role/App2/i-0123456789abcdef0")));
    assert!(!allowed(&by("arn:aws:sts::111122224444:assumed-role/App/i-0123456789abcdef0")));
    assert!(!allowed(&by("arn:aws:iam::111122223333:user/App")));
    assert!(!allowed(&Query { operation: Operation::GetKeyMetadata, ..query() }));
    assert!(!allowed(&Query { key_id: "other".to_owned(), ..query() }));
    assert!(!allowed(&Query { via_service: Some("rds".to_owned()), ..query() }));
    assert!(!allowed(&Query { via_service: None, ..query() }));
    assert!(!allowed(&Query { source_vpce: Some("vpce-2".to_owned()), ..query() }));
    assert!(!allowed(&Query { source_vpce: None, ..query() }));
}

#[test]
fn nothing_is_allowed_by_default() {
    let denied = Decision { effect: Effect::Deny, rules: Vec::new(), errors: Vec::new() };
    assert_eq!(engine("").evaluate(&query()), denied);
    assert_eq!(engine(r#"permit (principal, action, resource == Key::"other");"#).evaluate(&query()), denied);
}

#[test]
fn a_forbid_outweighs_permits_and_is_the_rule_that_decided() {
    let engine = engine(
        r#"@id("all") permit (principal, action, resource);
           @id("not-here") forbid (principal, action, resource) unless { context has sourceVpc && context.sourceVpc == "vpc-2" };"#,
    );
    let decision = engine.evaluate(&query());
    assert_eq!((decision.effect, decision.rules), (Effect::Deny, vec!["not-here".to_owned()]));
    let decision = engine.evaluate(&Query { source_vpc: Some("vpc-2".to_owned()), ..query() });
    assert_eq!((decision.effect, decision.rules), (Effect::Allow, vec!["all".to_owned()]));
}

#[test]
fn all_permits_that_apply_are_named_in_the_documents_order() {
    let engine = engine(
        r#"@id("z") permit (principal, action, resource);
           permit (principal, action, resource == Key::"other");
           permit (principal, action, resource);
           @id("a") permit (principal, action, resource);"#,
    );
    assert_eq!(engine.evaluate(&query()).rules, ["z", "rules.cedar:policy3", "a"]);
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    let engine = engine(
        r#"@id("all") permit (principal, action, resource);
           @id("overflows") forbid (principal, action, resource) when { context.time * 9223372036854775807 == 0 };"#,
    );
    let decision = engine.evaluate(&query());
    assert_eq!((decision.effect, &decision.rules), (Effect::Deny, &vec!["overflows".to_owned()]));
    assert!(decision.errors[0].contains("overflows"), "{:?}", decision.errors);
    assert_eq!(engine.evaluate(&Query { time: 1, ..query() }).effect, Effect::Allow);
    assert_eq!(engine.evaluate(&Query { time: u64::MAX, ..query() }).effect, Effect::Deny);
}

#[test]
fn principals_have_types_and_attributes() {
    let role = by("arn:aws-cn:iam::111122223333:role/deep/path/App");
    assert!(permitted_when(
        r#"principal is Role && principal.partition == "aws-cn" && principal.account == "111122223333" &&
           principal.name == "App" && !(principal has session) && principal.arn like "*:role/deep/path/App""#,
        &role
    ));
    let condition =
        r#"principal is Role && principal has session && principal.session == "i-0123456789abcdef0""#;
    assert!(permitted_when(condition, &query()));
    let user = by("arn:aws:iam::111122223333:user/division/Alice");
    assert!(permitted_when(r#"principal == User::"111122223333/Alice" && principal.name == "Alice""#, &user));
    let root = by("arn:aws:iam::111122223333:root");
    assert!(permitted_when(r#"principal is Root && principal == Root::"111122223333""#, &root));
    let federated = by("arn:aws:sts::111122223333:federated-user/Bob");
    let condition =
        r#"principal is Other && principal.arn == "arn:aws:sts::111122223333:federated-user/Bob""#;
    assert!(permitted_when(condition, &federated));
    let text = |identity: Identity, text: &str| Query {
        principal: identity,
        principal_text: text.to_owned(),
        ..query()
    };
    let service = text(Identity::Service("ec2.amazonaws.com".to_owned()), "ec2.amazonaws.com");
    assert!(permitted_when(r#"principal == Service::"ec2.amazonaws.com""#, &service));
    let internal = text(Identity::Other("AWS Internal".to_owned()), "AWS Internal");
    assert!(permitted_when(r#"principal == Other::"AWS Internal""#, &internal));
    for query in [&role, &user, &root, &federated] {
        assert!(permitted_when(r#"principal in Account::"111122223333""#, query));
    }
    for query in [&service, &internal] {
        assert!(!permitted_when(r#"principal in Account::"111122223333""#, query));
    }
}

#[test]
fn what_is_forbidden_to_an_account_is_forbidden_to_every_arn_of_it() {
    let engine = engine(
        r#"@id("all") permit (principal, action, resource);
           @id("account") forbid (principal in Account::"111122223333", action, resource);"#,
    );
    for form in [
        "iam::111122223333:role/aws-service-role/ec2.amazonaws.com/AWSServiceRoleForEC2",
        "iam::111122223333:user/",
        "iam::111122223333:instance-profile/App",
        "iam::111122223333:saml-provider/Corporate",
        "iam::111122223333:oidc-provider/token.example.com",
        "sts::111122223333:federated-user/Bob",
        "sts::111122223333:assumed-role/App/session",
        "sts::111122223333:self",
        "ec2:eu-central-1:111122223333:instance/i-0123",
        "later:eu-central-1:111122223333:what-is-invented/later",
    ] {
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            let who = format!("arn:{partition}:{form}");
            let decision = engine.evaluate(&by(&who));
            assert_eq!(
                (decision.effect, &decision.rules),
                (Effect::Deny, &vec!["account".to_owned()]),
                "{who}"
            );
        }
        let elsewhere = format!("arn:aws:{}", form.replace("111122223333", "444455556666"));
        assert_eq!(engine.evaluate(&by(&elsewhere)).effect, Effect::Allow, "{elsewhere}");
    }
    let condition = r#"principal is Other && principal has account && principal.account == "111122223333""#;
    assert!(permitted_when(condition, &by("arn:aws:sts::111122223333:federated-user/Bob")));
}

#[test]
fn no_other_text_passes_for_a_role_of_an_account() {
    let role = r#"principal == Role::"111122223333/App""#;
    let looks_like_a_role =
        r#"principal == Role::"111122223333/App" || principal in Account::"111122223333""#;
    for text in ["arn:aws:iam::111122223333/App:role/x", "arn:aws:iam:::role/111122223333/App"] {
        assert!(!permitted_when(looks_like_a_role, &by(text)), "{text}");
    }
    for text in [
        "arn:aws:sts::111122223333:federated-user/App",
        "arn:aws:s3::111122223333:role/App",
        "arn:aws:iam::111122223333:role/",
    ] {
        assert!(!permitted_when(role, &by(text)), "{text}");
    }
    // A role's ARN that comes as text, whoever sends it, names no role.
    let text = Identity::Other("arn:aws:iam::111122223333:role/App".to_owned());
    assert!(!permitted_when(looks_like_a_role, &Query { principal: text, ..query() }));
}

#[test]
fn every_fact_can_be_asked_for() {
    for condition in [
        r#"context.accessKeyId == "AAAAAAAAAAAAAAAAAAAA""#,
        r#"context.kmsOperation == "GenerateDataKey""#,
        r#"context.kmsRequestId == "r-1""#,
        r#"context has kmsKey && context.kmsKey.account == "111122223333" && context.kmsKey.region == "eu-central-1""#,
        r#"context has kmsKey && context.kmsKey.id == "0123" && context.kmsKey.partition == "aws""#,
        r#"context has kmsKey && context.kmsKey.arn == "arn:aws:kms:eu-central-1:111122223333:key/0123""#,
        r#"context has viaService && context.viaService == "ebs""#,
        r#"context has sourceVpc && context.sourceVpc == "vpc-1""#,
        r#"context has sourceVpce && context.sourceVpce == "vpce-1""#,
        r#"context has tlsPeer && context.tlsPeer like "CN=*""#,
        r#"context.otherMetadata.hasTag("newField") && context.otherMetadata.getTag("newField") == "x""#,
        r#"context.time >= 1800000000 && context.time < 1800000001"#,
        r#"resource in KeyStore::"frankfurt" && resource == Key::"demo""#,
        r#"action == Action::"Encrypt""#,
    ] {
        assert!(permitted_when(condition, &query()), "{condition}");
    }
    let bare = Query {
        kms_key: None,
        via_service: None,
        source_vpc: None,
        source_vpce: None,
        tls_peer: None,
        other_metadata: Vec::new(),
        ..query()
    };
    for name in ["kmsKey", "viaService", "sourceVpc", "sourceVpce", "tlsPeer"] {
        assert!(permitted_when(&format!("!(context has {name})"), &bare), "{name}");
    }
    assert!(permitted_when(r#"!context.otherMetadata.hasTag("newField")"#, &bare));
}

#[test]
fn metadata_that_names_a_member_twice_denies() {
    let engine =
        engine(r#"permit (principal, action, resource) when { context.otherMetadata.hasTag("a") };"#);
    let pair = |value: &str| ("a".to_owned(), value.to_owned());
    assert_eq!(engine.evaluate(&Query { other_metadata: vec![pair("1")], ..query() }).effect, Effect::Allow);
    let decision = engine.evaluate(&Query { other_metadata: vec![pair("1"), pair("2")], ..query() });
    assert_eq!((decision.effect, decision.errors.len()), (Effect::Deny, 1));
}
