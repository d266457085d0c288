//! Settings that are missing or wrong are told, to the client and to the log, and nothing of their values.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use holdfast_tests::{Host, Setup, components};
use serde_json::Value;

/// Spin itself isn't asked: only the harness shows its component's log at once.
const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-spin-host");

struct Served {
    child: Child,
    address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NAMES: [&str; 4] = [
    "SPIN_VARIABLE_HOLDFAST_KEYSTORE",
    "SPIN_VARIABLE_HOLDFAST_SEAL_KEY",
    "SPIN_VARIABLE_HOLDFAST_KEY_STORES",
    "SPIN_VARIABLE_HOLDFAST_POLICY_DOCUMENT",
];

fn serve(policy: &Path, variables: &[(&str, String)]) -> Served {
    let mut child = Command::new(PROGRAM)
        .arg(components())
        .arg("--policy")
        .arg(policy)
        .arg("--cache")
        .arg(holdfast_tests::cache())
        .args(["--optimise", "no"])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("it starts without settings").to_owned();
    Served { child, address }
}

/// The answer to any request, and what the log says.
fn ask(mut served: Served) -> (u16, Value, String) {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let (reply, _) = holdfast_tests::Reply::parse(&answer).unwrap();
    served.child.kill().unwrap();
    let mut log = String::new();
    served.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (reply.status, reply.json(), log)
}

/// Cedar as it is built.
fn without_document() -> PathBuf {
    components().join("policy-cedar.wasm")
}

/// What `spin-env` makes of a usual folder.
fn made(host: &Host) -> (PathBuf, [(&'static str, String); 4]) {
    host.holdfast_alone(&["spin-env", host.home().to_str().unwrap()]);
    let text = std::fs::read_to_string(host.home().join("spin.env")).unwrap();
    let variables = NAMES.map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("='")).unwrap();
        (name, line.trim_end_matches('\'').to_owned())
    });
    (host.home().join("spin-policy.wasm"), variables)
}

#[test]
fn without_settings_it_says_which_is_missing() {
    let (status, body, log) = ask(serve(&without_document(), &[]));
    assert_eq!((status, body["errorName"].as_str()), (503, Some("DependencyTimeoutException")));
    assert!(body["errorMessage"].as_str().unwrap().contains("holdfast_keystore"), "{body}");
    assert!(log.contains("holdfast_keystore"), "{log}");
}

#[test]
fn with_wrong_settings_it_says_which_is_wrong_and_not_what_it_holds() {
    let host = Setup::new().start();
    let (policy, right) = made(&host);
    assert_eq!(ask(serve(&policy, &right)).0, 200);
    let secret = right[1].1.clone();
    for (at, value, named) in [
        (0, String::new(), "holdfast_keystore"),
        (0, "not base64".into(), "holdfast_keystore"),
        (0, right[0].1[..200].to_owned(), "holdfast_keystore"),
        (1, "0".repeat(64), "holdfast_seal_key"),
        (1, secret[..60].to_owned(), "holdfast_seal_key"),
        (2, "{}".into(), "holdfast_key_stores"),
        (2, "[]".into(), "holdfast_key_stores"),
        (2, r#"{"unknown":{"uriPathPrefix":"","regions":["us-east-1"]}}"#.into(), "holdfast_key_stores"),
        (2, r#"{"demo":{"uriPathPrefix":"demo","regions":["us-east-1"]}}"#.into(), "holdfast_key_stores"),
        (2, r#"{"demo":{"uriPathPrefix":"/demo","regions":[]}}"#.into(), "holdfast_key_stores"),
        (
            2,
            r#"{"demo":{"uriPathPrefix":"/demo","regions":["us-east-1"],"x":1}}"#.into(),
            "holdfast_key_stores",
        ),
        (3, "[]".into(), "holdfast_policy_document"),
        (3, r#"{"rules.cedar":1}"#.into(), "holdfast_policy_document"),
        // It is inside already.
        (3, r#"{"rules.cedar":""}"#.into(), "holdfast_policy_document"),
    ] {
        let mut wrong = right.clone();
        wrong[at].1 = value;
        let (status, body, log) = ask(serve(&policy, &wrong));
        assert_eq!(
            (status, body["errorName"].as_str()),
            (503, Some("DependencyTimeoutException")),
            "{wrong:?}"
        );
        let message = body["errorMessage"].as_str().unwrap();
        assert!(message.contains(named), "{named}: {message}");
        assert!(log.contains(named), "{named}: {log}");
        for text in [message, &log] {
            assert!(!text.contains(&secret[..60]) && !text.contains(&right[0].1[..60]), "{text}");
        }
    }
}

#[test]
fn a_policy_without_its_document_is_told() {
    let host = Setup::new().start();
    let (_, right) = made(&host);
    let (status, body, log) = ask(serve(&without_document(), &right));
    assert_eq!((status, body["errorName"].as_str()), (503, Some("DependencyTimeoutException")));
    assert!(body["errorMessage"].as_str().unwrap().contains("spin-env"), "{body}");
    assert!(log.contains("the policy"), "{log}");
}

#[test]
fn a_policy_takes_its_document_from_the_settings_too() {
    let host = Setup::new().start();
    let (_, mut right) = made(&host);
    right[3].1 = r#"{"rules.cedar":"permit (principal, action, resource);"}"#.into();
    assert_eq!(ask(serve(&without_document(), &right)).0, 200);
    right[3].1 = r#"{"rules.cedar":"permit (principal, action"}"#.into();
    let (status, body, _) = ask(serve(&without_document(), &right));
    assert_eq!(status, 503);
    assert!(body["errorMessage"].as_str().unwrap().contains("rules.cedar:1"), "{body}");
}

#[test]
fn what_spin_env_writes_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = Setup::new().start();
    let output = host.holdfast_alone(&["spin-env", host.home().to_str().unwrap()]);
    assert!(output.contains("spin up"), "{output}");
    let file = host.home().join("spin.env");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.contains("spin up"), "it says how to start");
    // Each time another key.
    host.holdfast_alone(&["spin-env", host.home().to_str().unwrap()]);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), first);
}

#[test]
fn an_artefact_that_a_host_would_stage_serves_here_too() {
    let host = Setup::new().start();
    let home = host.home();
    let project = home.join("project");
    std::fs::create_dir(&project).unwrap();
    let file = |name: &str, text: &str| std::fs::write(project.join(name), text).unwrap();
    let component = without_document();
    file(
        "policy.toml",
        &format!("name = \"p\"\nversion = \"1\"\ncomponent = {component:?}\ndocument = [\"rules.cedar\"]\n"),
    );
    file("rules.cedar", "@id(\"nobody\") forbid (principal, action, resource);");
    let artefact = home.join("artefact.wasm");
    let (project, artefact) = (project.to_str().unwrap(), artefact.to_str().unwrap());
    host.holdfast_alone(&["policy", "pack", project, "--to", artefact]);
    let usual = made(&host).0;
    let usual = std::fs::read(usual).unwrap();
    host.holdfast_alone(&["spin-env", home.to_str().unwrap(), "--policy", artefact]);
    let policy = std::fs::read(home.join("spin-policy.wasm")).unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&policy, "nobody") && !holds(&usual, "nobody"));
    assert!(
        policy.len() < without_document().metadata().unwrap().len() as usize,
        "what read the document is gone"
    );
}
