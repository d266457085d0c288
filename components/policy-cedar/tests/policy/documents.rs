use holdfast_policy_cedar::{Effect, Engine, Problem, Query};

use crate::queries::{by, engine, query, source};

fn problems(files: &[(&str, &str)]) -> Vec<Problem> {
    let document: Vec<_> = files.iter().map(|(name, text)| source(name, text)).collect();
    Engine::configure(&document).err().expect("the document has a problem")
}

#[test]
fn mistakes_are_reported_with_file_line_and_column() {
    let found = problems(&[
        ("good.cedar", "permit (principal, action, resource);"),
        ("bad.cedar", "permit (principal, action, resource)\nwhen { Ä == };"),
    ]);
    assert_eq!((found[0].source.as_str(), found[0].line), ("bad.cedar", 2), "{found:?}");

    let found = problems(&[(
        "a.cedar",
        "permit (principal, action, resource)\nwhen { context.viaServise == \"ebs\" };",
    )]);
    assert_eq!((found[0].source.as_str(), found[0].line, found[0].column), ("a.cedar", 2, 8), "{found:?}");
    assert!(found[0].message.contains("viaServise"), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");

    let found = problems(&[("g.json", "[\n  {,}\n]")]);
    assert_eq!((found[0].source.as_str(), found[0].line, found[0].column), ("g.json", 2, 4), "{found:?}");
}

#[test]
fn all_files_problems_are_reported_at_once() {
    let found = problems(&[("a.cedar", "permit;"), ("b.cedar", "forbid;"), ("c.json", "{"), ("d.txt", "")]);
    let sources: Vec<_> = found.iter().map(|problem| problem.source.as_str()).collect();
    assert_eq!(sources, ["a.cedar", "b.cedar", "c.json", "d.txt"], "{found:?}");
}

#[test]
fn rules_are_checked_strictly() {
    for (what, rule) in [
        (
            "an optional attribute without `has`",
            r#"permit (principal, action, resource) when { context.viaService == "ebs" };"#,
        ),
        ("another attribute", r#"permit (principal, action, resource) when { context.nothing == "ebs" };"#),
        ("another action", r#"permit (principal, action == Action::"Destroy", resource);"#),
        ("another type", r#"permit (principal == Rolle::"111122223333/App", action, resource);"#),
        ("texts against numbers", r#"permit (principal, action, resource) when { context.time == "now" };"#),
        ("a principal as a resource", r#"permit (principal, action, resource == Role::"111122223333/App");"#),
        (
            "a rule that never applies",
            r#"permit (principal, action, resource) when { principal is Role && principal is User };"#,
        ),
        (
            "an attribute of some principals only",
            r#"permit (principal, action, resource) when { principal.name == "App" };"#,
        ),
        (
            "a tag without hasTag",
            r#"permit (principal, action, resource) when { context.otherMetadata.getTag("a") == "" };"#,
        ),
        ("a template", "permit (principal == ?principal, action, resource);"),
    ] {
        let found = problems(&[("a.cedar", rule)]);
        assert!(found.iter().all(|problem| problem.line == 1), "{what}: {found:?}");
    }
}

#[test]
fn an_id_is_used_once() {
    let rule = "@id(\"one\")\npermit (principal, action, resource);\n";
    let found = problems(&[("a.cedar", rule), ("b.cedar", &format!("// Again.\n{rule}"))]);
    assert_eq!((found[0].source.as_str(), found[0].line), ("b.cedar", 2), "{found:?}");
    assert!(found[0].message.contains("a.cedar"), "{found:?}");

    let found = problems(&[("a.cedar", &rule.repeat(2))]);
    assert_eq!(found[0].line, 3, "{found:?}");
    let imitation = format!("@id(\"a.cedar:policy2\") {}", "permit (principal, action, resource);".repeat(2));
    assert_eq!(problems(&[("a.cedar", &imitation)]).len(), 1);
    assert_eq!(problems(&[("a.cedar", "@id(\"\\n\") permit (principal, action, resource);")]).len(), 1);
}

#[test]
fn description_names_engine_and_rules_in_order() {
    let rule = "permit (principal, action, resource);";
    let document = [source("b.cedar", &format!("{rule}@id(\"two\"){rule}{rule}")), source("a.cedar", rule)];
    let description =
        Engine::configure(&document).unwrap_or_else(|problems| panic!("{problems:?}")).describe();
    assert!(description.engine.starts_with("cedar 4."), "{}", description.engine);
    assert_eq!(description.rules, ["b.cedar:policy1", "two", "b.cedar:policy3", "a.cedar:policy1"]);

    let many = engine(&rule.repeat(30)).describe().rules;
    assert_eq!(many, (1..=30).map(|number| format!("rules.cedar:policy{number}")).collect::<Vec<_>>());
}

const GROUPS: &str = r#"[
    { "uid": { "type": "Role", "id": "111122223333/App" }, "attrs": {}, "parents": [{ "type": "Group", "id": "apps" }] },
    { "uid": { "type": "Account", "id": "444455556666" }, "attrs": {}, "parents": [{ "type": "Group", "id": "partners" }] },
    { "uid": { "type": "KeyStore", "id": "frankfurt" }, "attrs": {}, "parents": [{ "type": "Group", "id": "europe" }] },
    { "uid": { "type": "Key", "id": "demo" }, "attrs": {}, "parents": [{ "type": "Group", "id": "tests" }] },
    { "uid": { "type": "Group", "id": "apps" }, "attrs": {}, "parents": [{ "type": "Group", "id": "all" }] }
]"#;

#[test]
fn groups_take_principals_accounts_keys_and_key_stores() {
    let allowed = |rule: &str, query: &Query| {
        let document = [source("groups.json", GROUPS), source("rules.cedar", rule)];
        let engine = Engine::configure(&document).unwrap_or_else(|problems| panic!("{problems:?}"));
        engine.evaluate(query).effect == Effect::Allow
    };
    let partner = by("arn:aws:sts::444455556666:assumed-role/Any/session");
    for group in ["apps", "all"] {
        let rule = format!(r#"permit (principal in Group::"{group}", action, resource);"#);
        assert!(allowed(&rule, &query()), "{group}");
        assert!(!allowed(&rule, &partner), "{group}");
    }
    let rule = r#"permit (principal in Group::"partners", action, resource);"#;
    assert!(allowed(rule, &partner) && !allowed(rule, &query()));
    for group in ["tests", "europe"] {
        let rule = format!(r#"permit (principal, action, resource in Group::"{group}");"#);
        assert!(allowed(&rule, &query()), "{group}");
        let elsewhere = Query { key_id: "other".to_owned(), key_store: "ohio".to_owned(), ..query() };
        assert!(!allowed(&rule, &elsewhere), "{group}");
    }
    // What a rule says of an entity holds whoever asks.
    let rule = r#"permit (principal, action, resource) when { Role::"111122223333/App" in Group::"all" };"#;
    assert!(allowed(rule, &partner) && allowed(rule, &query()));
}

#[test]
fn groups_files_hold_memberships_only() {
    let member = |uid: &str, attrs: &str, parent: &str| {
        problems(&[("g.json", &format!(r#"[{{ "uid": {uid}, "attrs": {attrs}, "parents": [{parent}] }}]"#))])
    };
    let (role, key) = (r#"{ "type": "Role", "id": "x" }"#, r#"{ "type": "Key", "id": "x" }"#);
    let group = r#"{ "type": "Group", "id": "x" }"#;
    assert!(member(role, r#"{ "name": "App" }"#, group)[0].message.contains("attributes"));
    assert!(member(r#"{ "type": "Rolle", "id": "x" }"#, "{}", group)[0].message.contains("types"));
    assert!(member(key, "{}", r#"{ "type": "KeyStore", "id": "x" }"#)[0].message.contains("groups"));
    let once = format!(r#"[{{ "uid": {key}, "attrs": {{}}, "parents": [] }}]"#);
    let again = format!(r#"[{{ "uid": {key}, "attrs": {{}}, "parents": [{group}] }}]"#);
    assert_eq!(problems(&[("g.json", &once), ("h.json", &again)])[0].source, "h.json");
    let circle = r#"[{ "uid": { "type": "Group", "id": "x" }, "attrs": {}, "parents": [{ "type": "Group", "id": "y" }] },
                     { "uid": { "type": "Group", "id": "y" }, "attrs": {}, "parents": [{ "type": "Group", "id": "x" }] }]"#;
    assert_eq!(problems(&[("g.json", circle)]).len(), 1);
}

#[test]
fn a_deny_message_belongs_to_a_forbid_and_can_be_said_to_kms() {
    let rule = |effect: &str, message: &str| {
        format!("@id(\"a\") @deny_message(\"{message}\") {effect} (principal, action, resource);")
    };
    let messages = engine(&rule("forbid", "Ask security.")).describe().messages;
    assert_eq!(messages, [("a".to_owned(), "Ask security.".to_owned())]);
    for (effect, message) in
        [("permit", "Ask."), ("forbid", ""), ("forbid", "Frag nach, Jürgen"), ("forbid", &"x".repeat(401))]
    {
        let found = problems(&[("a.cedar", &rule(effect, message))]);
        assert!(found[0].message.contains("@deny_message"), "{found:?}");
    }
}
