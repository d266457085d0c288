use super::*;
use holdfast_gate::reply::{HealthStatus, KeyManager, Outcome, Reply, Words, check};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A gate that grants everything, "encrypts" by reversing, and says what it did.
#[derive(Default)]
struct Permissive {
    outcome: Option<Outcome>,
    asked: Vec<String>,
}

impl Gate for Permissive {
    type Request = String;
    type Admission = ();
    type Grant = ();

    async fn admit(&mut self, request: String) -> Result<((), String), Refusal> {
        Ok(((), request))
    }

    async fn authorize(&mut self, (): (), operation: Operation, key_id: &str) -> Result<(), Refusal> {
        self.asked.push(format!("{} {key_id}", operation.name()));
        Ok(())
    }

    async fn health(&mut self, (): ()) -> Result<Health, Refusal> {
        let health = Health {
            fleet_size: 1,
            vendor: "a \"quoted\" vendor".into(),
            model: "m".into(),
            ekm_vendor: "e".into(),
            fleet: ["1", "2"]
                .map(|id| KeyManager { id: id.into(), model: "k".into(), status: HealthStatus::Active })
                .to_vec(),
        };
        self.outcome = Some(Outcome::Health(health.clone()));
        Ok(health)
    }

    async fn key_metadata(&mut self, (): ()) -> Result<KeyMetadata, Refusal> {
        let metadata = KeyMetadata { key_spec: "AES_256".into(), key_usage: vec![], enabled: false };
        self.outcome = Some(Outcome::KeyMetadata(metadata.clone()));
        Ok(metadata)
    }

    async fn encrypt(&mut self, (): (), inputs: &EncryptInputs) -> Result<Encrypted, Refusal> {
        let ciphertext = inputs.plaintext.iter().rev().copied().collect();
        let cdiv = inputs.with_cdiv.then_some([9; 32]);
        let encrypted =
            Encrypted { ciphertext, iv: vec![1; 12], tag: vec![2; 16], metadata: inputs.aad.clone(), cdiv };
        self.outcome = Some(Outcome::Encrypted(encrypted.clone()));
        Ok(encrypted)
    }

    async fn decrypt(&mut self, (): (), inputs: &DecryptInputs) -> Result<Vec<u8>, Refusal> {
        if inputs.metadata == b"no" {
            return Err(Refusal::new(ErrorName::InvalidCiphertext, "altered"));
        }
        let plaintext: Vec<u8> = inputs.ciphertext.iter().rev().copied().collect();
        self.outcome = Some(Outcome::Plaintext(plaintext.clone().into()));
        Ok(plaintext)
    }
}

fn run(method: &str, path: &str, body: &str) -> (Response, Permissive) {
    let mut gate = Permissive::default();
    let response = {
        let mut future = pin!(handle(&mut gate, method, path, body.to_owned()));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => response,
            Poll::Pending => panic!("nothing here waits"),
        }
    };
    (response, gate)
}

/// Runs, and holds the answer against what the gate did, as the real gate does. It is in the gate's own form, so that
/// the gate need not parse it.
fn answered(path: &str, body: &str) -> String {
    let (response, gate) = run("POST", path, body);
    let outcome = gate.outcome.as_ref().unwrap();
    let own = render::outcome(outcome).unwrap();
    assert_eq!(response.body, String::from_utf8(own.to_vec()).unwrap());
    let checked = check(response.status, &response.body, outcome, Words::Gates(None));
    assert_eq!(checked, Ok(Reply::Success(own)));
    response.body
}

fn refused_as(method: &str, path: &str, body: &str) -> (u16, String) {
    let (response, gate) = run(method, path, body);
    let outcome = gate.outcome.as_ref().unwrap_or(&Outcome::Nothing);
    match check(response.status, &response.body, outcome, Words::Components).unwrap() {
        Reply::Error(status, refusal) => (status, refusal.name.as_str().to_owned()),
        Reply::Success(_) => panic!("{}", response.body),
    }
}

const DECRYPT: &str = r#"{"ciphertext":"AwIB","initializationVector":"AAAA","authenticationTag":"AAAA","encryptionAlgorithm":"AES_GCM"}"#;

#[test]
fn every_success_repeats_the_gates_result() {
    assert!(answered("/health", "{}").contains("a \\\"quoted\\\" vendor"));
    answered("/keys/k/metadata", "{}");
    answered("/keys/k/encrypt", r#"{"plaintext":"AQID","encryptionAlgorithm":"AES_GCM","unknown":[]}"#);
    answered(
        "/keys/k/encrypt",
        r#"{"plaintext":"","encryptionAlgorithm":"AES_GCM","additionalAuthenticatedData":"AQ==","ciphertextDataIntegrityValueAlgorithm":"SHA_256"}"#,
    );
    assert_eq!(answered("/keys/k/decrypt", DECRYPT), r#"{"plaintext":"AQID"}"#);
}

#[test]
fn t1_t2_other_paths_are_404_and_other_methods_405() {
    assert_eq!(refused_as("GET", "/health", ""), (405, "InvalidUriPathException".into()));
    assert_eq!(refused_as("PUT", "/keys/k/encrypt", ""), (405, "InvalidUriPathException".into()));
    for path in ["/", "/healthy", "/keys/k/rotate", "/keys/k", "/keys/.../x/encrypt", "/keys//encrypt"] {
        assert_eq!(refused_as("POST", path, "{}"), (404, "InvalidUriPathException".into()), "{path}");
    }
}

#[test]
fn a_refusal_of_the_gate_is_passed_on() {
    let body = DECRYPT.replace('}', r#","ciphertextMetadata":"bm8="}"#);
    assert_eq!(refused_as("POST", "/keys/k/decrypt", &body), (400, "InvalidCiphertextException".into()));
}

#[test]
fn nothing_malformed_reaches_authorisation() {
    for body in
        ["{}", r#"{"plaintext":"A","encryptionAlgorithm":"AES_GCM"}"#, r#"{"plaintext":"AQID"}"#, "[]", ""]
    {
        let (response, gate) = run("POST", "/keys/k/encrypt", body);
        assert_eq!(response.status, 400, "{body}");
        assert!(gate.asked.is_empty());
    }
}
