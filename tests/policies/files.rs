//! From a folder to a signed file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use holdfast_tests::Folder;

#[test]
fn a_new_policy_passes_its_tests_and_becomes_one_file_that_says_the_same() {
    let folder = Folder::new();
    folder.policy("new payments").done();
    let tested = folder.policy("test payments --every-rule --json").json();
    assert_eq!((&tested["passed"], &tested["failed"]), (&8.into(), &serde_json::json!([])));
    let packed = folder.policy("pack payments --to one.wasm --json").json();
    folder.policy("pack payments --to two.wasm").done();
    assert_eq!(
        std::fs::read(folder.path("one.wasm")).unwrap(),
        std::fs::read(folder.path("two.wasm")).unwrap()
    );
    let inspected = folder.policy("inspect one.wasm --json").json();
    assert_eq!(inspected["sha256"], packed["sha256"]);
    assert_eq!(inspected["manifest"]["name"], "payments");
    assert_eq!(inspected["rules"], serde_json::json!(["look-at-keys", "volumes", "no-root-users"]));
    assert_eq!(inspected["cacheable"], true);
    assert_eq!(folder.policy("test one.wasm --json").json()["passed"], 8);
    let rules = std::fs::read_to_string(folder.path("payments/rules.cedar")).unwrap();
    assert_eq!(folder.policy("inspect one.wasm --print rules.cedar").done(), rules);
}

#[test]
fn run_answers_with_its_reasons() {
    let folder = Folder::with_policy("cedar");
    let asked = "run cedar --operation Decrypt --key demo --via-service ebs --principal";
    let allowed = folder.policy(&format!("{asked} arn:aws:sts::111122223333:assumed-role/App/s --json"));
    assert_eq!(allowed.code, Some(0));
    assert_eq!(allowed.json()["rules"], serde_json::json!(["volumes"]));
    let denied = folder.policy(&format!("{asked} arn:aws:iam::111122223333:root"));
    assert!(denied.stdout.contains("by rule no-root-users"), "{}", denied.stdout);
    assert!(denied.stdout.contains("message: Root users don't work with data here. Use a role."));
    denied.refused(1, "denied");
    folder.policy("run cedar").refused(2, "what is asked?");
}

#[test]
fn a_case_that_comes_out_otherwise_is_told_and_nothing_is_packed() {
    let folder = Folder::with_policy("cedar");
    folder.replace("cedar/rules.cedar", "\"ebs\"", "\"rds\"");
    let tested = folder.policy("test cedar");
    assert!(tested.stdout.contains("expected allow, got deny (no rule applied)"), "{}", tested.stdout);
    tested.refused(1, "3 of 8 cases failed");
    folder.policy("pack cedar").refused(1, "3 of its test cases fail");
    folder.replace("cedar/rules.cedar", "principal is Root", "principal is Robot");
    folder.policy("test cedar").refused(1, "rules.cedar:");
}

#[test]
fn a_signature_counts_for_its_file_and_its_key_only() {
    let folder = Folder::with_policy("cedar");
    let [one, other] =
        [0, 1].map(|_| minisign::KeyPair::generate_encrypted_keypair(Some("secret".into())).unwrap());
    folder.write("key", &one.sk.to_box(None).unwrap().into_string());
    folder.write("key.pub", &one.pk.to_box().unwrap().into_string());
    folder.write("password", "secret\n");
    folder.write("wrong", "other\n");
    folder.policy("pack cedar --to policy.wasm").done();
    folder.policy("sign policy.wasm --key key --password-file wrong").refused(1, "its password is another");
    folder.policy("sign policy.wasm --key key --password-file password").done();
    // What the usual tool does with the file.
    let signature = std::fs::read_to_string(folder.path("policy.wasm.minisig")).unwrap();
    let file = std::fs::read(folder.path("policy.wasm")).unwrap();
    let signature = minisign::SignatureBox::from_string(&signature).unwrap();
    minisign::verify(&one.pk, &signature, std::io::Cursor::new(&file), true, false, false).unwrap();
    assert!(signature.trusted_comment().unwrap().starts_with("holdfast policy small 0.1.0 sha256:"));

    folder.policy("verify policy.wasm --key key.pub").done();
    folder
        .policy(&format!("verify policy.wasm --key {}", other.pk.to_base64()))
        .refused(1, "which isn't trusted");
    let mut changed = file;
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(folder.path("policy.wasm"), changed).unwrap();
    folder.policy("verify policy.wasm --key key.pub").refused(1, "one of the two was changed");
    folder.policy("verify policy.wasm").refused(2, "whose signature counts?");
}

#[test]
fn a_key_without_password_signs_as_minisign_itself_writes_it() {
    let folder = Folder::with_policy("cedar");
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let text = pair.sk.to_box(None).unwrap().into_string();
    let (comment, line) = text.trim_end().split_once('\n').unwrap();
    let mut bytes = STANDARD.decode(line).unwrap();
    // minisign leaves all that is about a password empty, and the checksum.
    bytes[2..4].fill(0);
    bytes[6..54].fill(0);
    bytes[126..].fill(0);
    folder.write("key", &format!("{comment}\n{}\n", STANDARD.encode(bytes)));
    folder.policy("pack cedar --to policy.wasm").done();
    folder.policy("sign policy.wasm --key key").done();
    folder.policy(&format!("verify policy.wasm --key {}", pair.pk.to_base64())).done();
}

#[test]
fn diff_shows_rules_and_the_decisions_that_they_change() {
    let folder = Folder::with_policy("cedar");
    folder.policy("pack cedar --to old.wasm").done();
    folder.policy("diff old.wasm cedar").done();
    folder.replace("cedar/rules.cedar", "@id(\"volumes\")", "@id(\"disks\")");
    folder.replace("cedar/rules.cedar", "context.viaService == \"ebs\"", "context.viaService == \"rds\"");
    let diff = folder.policy("diff old.wasm cedar --json");
    assert_eq!(diff.code, Some(4));
    let diff = diff.json();
    assert_eq!(diff["rules"], serde_json::json!({ "removed": ["volumes"], "added": ["disks"] }));
    assert_eq!(diff["document"]["changed"], serde_json::json!(["rules.cedar"]));
    assert_eq!(diff["decisions"].as_array().unwrap().len(), 3, "{diff}");
    assert_eq!(diff["component"], false);
}

#[test]
fn bench_tells_time_instructions_and_memory() {
    let folder = Folder::with_policy("cedar");
    let report = folder.policy("bench cedar --count 50 --json").json();
    assert!(report["instructions_most"].as_u64().unwrap() > 10_000, "{report}");
    assert!(report["memory_bytes"].as_u64().unwrap() > 64 * 1024, "{report}");
    assert!(report["fresh_median_us"].as_f64().unwrap() > 0.0, "{report}");
    let again = folder.policy("bench cedar --count 1 --json").json();
    assert_eq!(report["instructions_most"], again["instructions_most"], "fuel is the same on every run");
}

#[test]
fn the_usual_rules_do_what_their_cases_say_and_each_is_reached() {
    let folder = Folder::with_policy("usual-rules");
    println!("{}", folder.policy("test usual-rules --every-rule").done());
}

#[test]
fn the_rules_in_the_documentation_are_those_that_are_tested() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policies.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rules =
        std::fs::read_to_string(holdfast_tests::policy_examples().join("usual-rules/rules.cedar")).unwrap();
    let (_, section) = docs.split_once("## Templates").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let shown: Vec<&str> =
        section.split("```cedar\n").skip(1).filter_map(|text| text.split("```").next()).collect();
    assert!(shown.len() >= 6, "{} templates", shown.len());
    for rule in shown {
        assert!(rules.contains(rule.trim()), "not in rules.cedar:\n{rule}");
    }
}

#[test]
fn a_policy_that_loops_ends_a_command_with_an_error() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("loops")).unwrap();
    std::fs::copy(holdfast_tests::hostile("policy"), folder.path("loops/policy.wasm")).unwrap();
    folder.write("loops/hostile.txt", "reads-key-id");
    folder.write(
        "loops/policy.toml",
        "name = \"loops\"\nversion = \"1\"\ncomponent = \"policy.wasm\"\ndocument = [\"hostile.txt\"]\n",
    );
    let run = |key: &str| folder.policy(&format!("run loops --operation Encrypt --key {key}"));
    run("honest").done();
    run("hostile-loop").refused(1, "50 ms");
}
