//! What a proxy that has seen a body can tell by its answers: which error it is, and nothing more.

use super::{decryptable, late, reply, setup};
use crate::expect::timed;
use holdfast_tests::{HandMade, Host, base64, encrypt_body, metadata_body};
use serde_json::json;

const PLAINTEXT: &str = "a plaintext that no answer may hold";

const ERRORS: [(u16, &str); 12] = [
    (400, "ValidationException"),
    (400, "InvalidStateException"),
    (400, "InvalidCiphertextException"),
    (400, "InvalidKeyUsageException"),
    (401, "AuthenticationFailedException"),
    (403, "AccessDeniedException"),
    (404, "KeyNotFoundException"),
    (404, "InvalidUriPathException"),
    (429, "ThrottlingException"),
    (500, "InternalException"),
    (501, "UnsupportedOperationException"),
    (503, "DependencyTimeoutException"),
];

/// The errorMessage of the refusal that `name` makes of a request to encrypt, by a text that differs each time.
#[track_caller]
fn told(host: &Host, name: &str, (status, error): (u16, &str), plaintext: &str) -> String {
    let reply = reply(host, late(host, "encrypt", name, encrypt_body(plaintext)));
    reply.refused(status, error);
    assert!(!reply.text().contains(&base64(plaintext)), "{name}: {}", reply.text());
    assert!(!reply.text().contains(plaintext), "{name}: {}", reply.text());
    reply.json()["errorMessage"].as_str().unwrap().to_owned()
}

#[test]
fn an_error_after_the_body_was_seen_is_told_in_the_gates_words() {
    let host = setup().start();
    for (status, error) in ERRORS {
        let name = format!("tell-{error}");
        let first = told(&host, &name, (status, error), PLAINTEXT);
        assert_eq!(first, told(&host, &name, (status, error), "another plaintext"), "{name}");
    }
}

#[test]
fn a_refusal_of_the_gate_is_told_in_its_own_words() {
    let denied = setup().policy("@id(\"none\") forbid (principal, action, resource);\n").start();
    let access_denied = (403, "AccessDeniedException");
    let honest = told(&denied, "nothing", access_denied, PLAINTEXT);
    assert_eq!(honest, "the key store's policy does not allow this request");
    assert_eq!(told(&denied, "told", access_denied, PLAINTEXT), honest);
    // Another error than the gate's is the proxy's to give, but not its text.
    let other = told(&denied, "other-error-told", (400, "InvalidStateException"), PLAINTEXT);
    assert_eq!(other, told(&denied, "other-error-told", (400, "InvalidStateException"), "another"));
    assert_ne!(other, honest);
}

#[test]
fn a_success_leaves_in_one_form_however_the_proxy_writes_it() {
    let host = setup().start();
    let forms = ["nothing", "spaced", "reordered", "escaped", "escaped-name"];
    for name in forms {
        let body = decryptable(&host, PLAINTEXT.as_bytes());
        let reply = reply(&host, late(&host, "decrypt", name, body));
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.text(), format!("{{\"plaintext\":\"{}\"}}", base64(PLAINTEXT)), "{name}");
    }
    for operation in ["health", "metadata"] {
        let answer = |name: &str| {
            let reply = reply(&host, late(&host, operation, name, metadata_body("DescribeKey")));
            assert_eq!(reply.status, 200, "{operation}, {name}: {}", reply.text());
            reply.text()
        };
        let honest = answer("nothing");
        for name in forms {
            assert_eq!(answer(name), honest, "{operation}, {name}");
        }
    }
    let members = |name: &str| {
        let mut body = encrypt_body(PLAINTEXT);
        body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
        let reply = reply(&host, late(&host, "encrypt", name, body));
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let text = reply.text();
        assert!(!text.contains(|c: char| c.is_whitespace() || c == '\\'), "{name}: {text}");
        text.split('"').skip(1).step_by(4).map(str::to_owned).collect::<Vec<_>>()
    };
    let honest = members("nothing");
    assert_eq!(honest.len(), 5, "{honest:?}");
    for name in forms {
        assert_eq!(members(name), honest, "{name}");
    }
}

#[test]
fn only_a_post_to_an_api_is_admitted() {
    let host = setup().start();
    let admit = |method: &str, path: &str| {
        let mut request = HandMade::new(&host, path, encrypt_body(PLAINTEXT));
        request.method = method.into();
        timed(&host, request.sign().bytes()).0.refused(404, "InvalidUriPathException");
    };
    for method in ["GET", "PUT", "DELETE", "post"] {
        admit(method, "/keys/hostile-admit/encrypt");
    }
    admit("POST", "/keys/hostile-admit/rotate");
    assert_eq!(
        host.audit_records().len(),
        0,
        "nobody was authenticated, and nothing is taken for something else"
    );
}

#[test]
fn an_unsigned_post_reaches_no_component() {
    let host = setup().start();
    let unsigned = |method: &str, path: &str| {
        let mut request = HandMade::new(&host, path, encrypt_body(PLAINTEXT));
        request.method = method.into();
        timed(&host, request.bytes()).0
    };
    // The component would trap.
    unsigned("POST", "/keys/hostile-trap/encrypt").refused(401, "AuthenticationFailedException");
    unsigned("POST", "/keys/demo/encrypt").refused(401, "AuthenticationFailedException");
    unsigned("GET", "/keys/demo/encrypt").refused(405, "InvalidUriPathException");
    unsigned("POST", "/keys/demo/rotate").refused(404, "InvalidUriPathException");
    let traps =
        || host.metric(&["holdfast_component_failures_total", "component=\"proxy\"", "kind=\"trap\""]);
    assert_eq!(traps(), 0);
    assert_eq!(host.metric(&["holdfast_unauthenticated_total"]), 2);
    unsigned("GET", "/keys/hostile-trap/encrypt").refused(500, "InternalException");
    assert_eq!(traps(), 1, "the path does trap");
}
