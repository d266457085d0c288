use std::path::Path;

use holdfast_policy_cedar::{Effect, Engine, Operation, Query, Source};

use crate::queries::{by, query};

fn example(files: &[&str]) -> Engine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let read = |name: &&str| Source {
        name: (*name).to_owned(),
        text: std::fs::read_to_string(folder.join(name)).expect("the example is there"),
    };
    let document: Vec<Source> = files.iter().map(read).collect();
    Engine::configure(&document).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn decide(engine: &Engine, query: &Query) -> (Effect, Vec<String>) {
    let decision = engine.evaluate(query);
    assert_eq!(decision.errors, Vec::<String>::new());
    (decision.effect, decision.rules)
}

fn by_rule(effect: Effect, rule: &str) -> (Effect, Vec<String>) {
    (effect, vec![rule.to_owned()])
}

#[test]
fn starter_lets_everyone_but_root_users_use_the_demo_key() {
    let starter = example(&["starter.cedar"]);
    assert_eq!(decide(&starter, &query()), by_rule(Effect::Allow, "use-demo"));
    let metadata = Query { operation: Operation::GetKeyMetadata, ..query() };
    assert_eq!(decide(&starter, &metadata), by_rule(Effect::Allow, "look-at-keys"));
    let root = by("arn:aws:iam::111122223333:root");
    assert_eq!(decide(&starter, &root), by_rule(Effect::Deny, "no-root-users"));
    assert_eq!(
        decide(&starter, &Query { key_id: "other".to_owned(), ..query() }),
        (Effect::Deny, Vec::new())
    );
}

#[test]
fn the_rule_in_the_starters_comment_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let text = std::fs::read_to_string(folder.join("starter.cedar")).expect("the example is there");
    let (_, commented) = text.split_once("// @id(").expect("the starter has a rule in a comment");
    let rule: String = format!("@id({commented}").lines().map(|line| line.trim_start_matches("//")).collect();
    let engine = crate::queries::engine(&rule);
    let endpoint = Some("vpce-0123456789abcdef0".to_owned());
    let decided = decide(&engine, &Query { source_vpce: endpoint, ..query() });
    assert_eq!(decided, by_rule(Effect::Allow, "app-volumes"));
}

#[test]
fn volumes_takes_one_role_through_ebs_from_one_endpoint() {
    let volumes = example(&["volumes.cedar"]);
    let here = Query { source_vpce: Some("vpce-0123456789abcdef0".to_owned()), ..query() };
    assert_eq!(decide(&volumes, &here), by_rule(Effect::Allow, "app-volumes"));
    assert_eq!(decide(&volumes, &query()), (Effect::Deny, Vec::new()));
    assert_eq!(decide(&volumes, &Query { via_service: None, ..here }), (Effect::Deny, Vec::new()));
}

#[test]
fn teams_use_their_own_keys_and_only_operators_read_backups() {
    let teams = example(&["teams.cedar", "teams.json"]);
    let with =
        |principal: &str, key: &str, operation| Query { key_id: key.to_owned(), operation, ..by(principal) };
    let payments = "arn:aws:sts::111122223333:assumed-role/Payments/s";
    let partner = "arn:aws:iam::444455556666:user/Bob";
    let alice = "arn:aws:iam::111122223333:user/Alice";
    let (encrypt, decrypt) = (Operation::Encrypt, Operation::Decrypt);
    assert_eq!(decide(&teams, &with(payments, "card-data", decrypt)), by_rule(Effect::Allow, "payments"));
    assert_eq!(decide(&teams, &with(partner, "card-data", encrypt)), by_rule(Effect::Allow, "payments"));
    assert_eq!(decide(&teams, &with(alice, "card-data", decrypt)), (Effect::Deny, Vec::new()));
    assert_eq!(decide(&teams, &with(payments, "backups", encrypt)), by_rule(Effect::Allow, "write-backups"));
    assert_eq!(decide(&teams, &with(payments, "backups", decrypt)), (Effect::Deny, Vec::new()));
    assert_eq!(decide(&teams, &with(alice, "backups", decrypt)), by_rule(Effect::Allow, "read-backups"));
    let outside = Query { via_service: None, ..with(alice, "backups", decrypt) };
    assert_eq!(decide(&teams, &outside), by_rule(Effect::Deny, "own-networks"));
}
