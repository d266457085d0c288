//! Signed calls over real sockets, checked by a server that computes SigV4 on its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod xks_server;

use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_client::message::{Decrypt, Encrypt};
use holdfast_client::{
    CallError, Client, Credential, Endpoint, Operation, Protocol, RequestMetadata, Signer, TransportError,
    Trust, new_request_id,
};
use xks_server::{ACCESS_KEY_ID, Fault, SECRET, URI_PATH, serve, serve_tls};

fn client_with(url: &str, trust: Trust, protocol: Protocol, secret: &str) -> Client {
    let endpoint = Endpoint::parse(url, Some(URI_PATH)).unwrap();
    let credential = Credential::new(ACCESS_KEY_ID, secret.to_owned().into()).unwrap();
    Client::new(endpoint, trust, protocol, Signer::new(&credential, "eu-central-1").unwrap())
}

fn client(url: &str) -> Client {
    client_with(url, Trust::AnyOnLoopback, Protocol::Http1, SECRET)
}

fn metadata(operation: Operation) -> RequestMetadata {
    RequestMetadata {
        aws_principal_arn: Some("arn:aws:iam::123456789012:role/Tester".into()),
        kms_key_arn: Some("arn:aws:kms:eu-central-1:123456789012:key/1".into()),
        kms_operation: operation.usual_kms_operation().into(),
        kms_request_id: new_request_id().unwrap(),
        ..Default::default()
    }
}

/// All four calls, with AAD and CDIV.
async fn all_four(client: &mut Client) {
    assert_eq!(client.health(metadata(Operation::Health)).await.unwrap().xks_proxy_fleet_size, 1);
    let key = client.metadata("demo", metadata(Operation::Metadata)).await.unwrap();
    assert_eq!(key.key_usage, ["ENCRYPT", "DECRYPT"]);
    let aad = Some(b"project=nile".to_vec());
    let request = Encrypt::new(metadata(Operation::Encrypt), b"Hello World!".to_vec(), aad.clone(), true);
    let encrypted = client.encrypt("demo", &request).await.unwrap();
    assert!(encrypted.ciphertext_data_integrity_value.is_some());
    let request = Decrypt::new(metadata(Operation::Decrypt), encrypted.sealed.clone(), aad);
    assert_eq!(client.decrypt("demo", &request).await.unwrap(), b"Hello World!");

    let without_aad = Decrypt::new(metadata(Operation::Decrypt), encrypted.sealed, None);
    let Err(CallError::Server(error)) = client.decrypt("demo", &without_aad).await else { panic!() };
    assert_eq!((error.status, error.name.as_str()), (400, "InvalidCiphertextException"));
    assert_eq!(error.to_string(), "400 InvalidCiphertextException: not authentic");
}

#[tokio::test]
async fn all_four_calls_over_plain_http() {
    let address = serve(Fault::None).await;
    let mut client = client(&format!("http://{address}"));
    all_four(&mut client).await;
    assert_eq!(client.connect().await.unwrap(), None, "one connection served all of them");
}

#[tokio::test]
async fn all_four_calls_over_tls_with_http1_and_http2() {
    let (address, ca) = serve_tls(Fault::None).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(ca.as_bytes()).unwrap();
    let url = format!("https://localhost:{}", address.port());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for trust in [Trust::CaFile(file.path().to_owned()), Trust::AnyOnLoopback] {
            all_four(&mut client_with(&url, trust, protocol, SECRET)).await;
        }
    }
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_trusted() {
    let (address, _) = serve_tls(Fault::None).await;
    let (_, other_ca) = serve_tls(Fault::None).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(other_ca.as_bytes()).unwrap();
    let url = format!("https://localhost:{}", address.port());
    let mut client = client_with(&url, Trust::CaFile(file.path().to_owned()), Protocol::Http1, SECRET);
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error, TransportError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn unverified_tls_is_refused_for_other_machines() {
    let endpoint = Endpoint::parse("https://xks.example.com/store", None).unwrap();
    let credential = Credential::new(ACCESS_KEY_ID, SECRET.to_owned().into()).unwrap();
    assert!(!format!("{credential:?}").contains(SECRET));
    let signer = Signer::new(&credential, "eu-central-1").unwrap();
    assert!(!format!("{signer:?}").contains(SECRET));
    // No name is looked up before the trust is checked.
    let mut client = Client::new(endpoint, Trust::AnyOnLoopback, Protocol::Http1, signer);
    let error = client.connect().await.unwrap_err().to_string();
    assert!(error.contains("only for localhost"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_a_changed_body_and_an_old_request_are_refused() {
    let address = serve(Fault::None).await;
    let url = format!("http://{address}");
    let mut wrong = client_with(&url, Trust::AnyOnLoopback, Protocol::Http1, &SECRET.replace('1', "2"));
    let Err(CallError::Server(error)) = wrong.health(metadata(Operation::Health)).await else { panic!() };
    assert_eq!((error.status, error.name.as_str()), (401, "AuthenticationFailedException"));

    let mut client = client(&url);
    let body = Bytes::from_static(b"{}");
    let mut changed = client.raw_request(Operation::Health, "", body.clone(), SystemTime::now()).unwrap();
    *changed.body_mut() = Bytes::from_static(b"{ }");
    assert_eq!(client.send(changed).await.unwrap().status, 401);
    for (age, status) in [(0, 200), (290, 200), (310, 401)] {
        let then = SystemTime::now() - Duration::from_secs(age);
        let request = client.raw_request(Operation::Health, "", body.clone(), then).unwrap();
        assert_eq!(client.send(request).await.unwrap().status, status, "{age} s old");
    }
}

#[tokio::test]
async fn a_closed_connection_is_opened_again() {
    let address = serve(Fault::CloseAfterEach).await;
    all_four(&mut client(&format!("http://{address}"))).await;
}

#[tokio::test]
async fn a_key_id_that_would_change_the_path_is_not_sent() {
    let address = serve(Fault::None).await;
    let mut client = client(&format!("http://{address}"));
    for key in ["", ".", "..", "a/b", "a?b", "a b", "ä", &"a".repeat(129)] {
        let result = client.metadata(key, metadata(Operation::Metadata)).await;
        assert!(matches!(result, Err(CallError::KeyId { .. })), "{key}");
    }
}

#[tokio::test]
async fn nobody_listening_is_said_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client(&format!("http://{free}")).connect().await.unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error}");
}

/// The server is right about SigV4 when another client's signature passes too, and fails with another secret.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_server_takes_curls_signature() {
    let address = serve(Fault::None).await;
    let curl = |secret: String| {
        let output = Command::new("curl")
            .args(["--silent", "--aws-sigv4", "aws:amz:eu-central-1:kms-xks-proxy", "--user"])
            .arg(format!("{ACCESS_KEY_ID}:{secret}"))
            .args(["-H", "Content-Type: application/json", "--data-binary", r#"{"requestMetadata":{}}"#])
            .arg(format!("http://{address}{URI_PATH}/health"))
            .output()
            .expect("curl 7.75 or later must be installed");
        String::from_utf8(output.stdout).unwrap()
    };
    let answer = curl(SECRET.to_owned());
    assert!(answer.contains("xksProxyFleetSize"), "{answer}");
    let answer = curl(SECRET.replace('1', "2"));
    assert!(answer.contains("AuthenticationFailedException"), "{answer}");
}
