//! A small XKS server for tests. Its signature check shares no code with the client.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

pub const ACCESS_KEY_ID: &str = "TESTTESTTESTTESTTEST";
pub const SECRET: &str = "NotARealSecretButLongEnoughToLookLikeOne1234";
pub const URI_PATH: &str = "/store/kms/xks/v1";
const METADATA: &[u8] = b"version=1";

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test binary uses every behaviour")]
pub enum Fault {
    None,
    /// Decrypts to something else.
    WrongPlaintext,
    /// Each answer ends its connection.
    CloseAfterEach,
    /// Takes requests and never answers.
    Silent,
    /// Waits so many milliseconds before each answer, one request at a time.
    Slow(u64),
}

struct State {
    fault: Fault,
    nonce: AtomicU64,
    turn: tokio::sync::Mutex<()>,
}

/// Serves on a free port until the runtime ends.
#[allow(dead_code, reason = "the example serves on an address of its own")]
pub async fn serve(fault: Fault) -> SocketAddr {
    serve_on("127.0.0.1:0", fault, None).await
}

/// The same with TLS for `localhost`; gives the CA's PEM too.
#[allow(dead_code, reason = "not every test binary uses it")]
pub async fn serve_tls(fault: Fault) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    (serve_on("127.0.0.1:0", fault, Some(acceptor)).await, made.cert.pem())
}

pub async fn serve_on(address: &str, fault: Fault, tls: Option<tokio_rustls::TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(State { fault, nonce: AtomicU64::new(1), turn: tokio::sync::Mutex::new(()) });
    tokio::spawn(async move {
        loop {
            let Ok((tcp, _)) = listener.accept().await else { continue };
            tcp.set_nodelay(true).unwrap();
            let state = Arc::clone(&state);
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => converse(tcp, state, false).await,
                    Some(tls) => {
                        let Ok(stream) = tls.accept(tcp).await else { return };
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        converse(stream, state, http2).await;
                    }
                }
            });
        }
    });
    address
}

async fn converse<S>(stream: S, state: Arc<State>, http2: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
    // A client that goes away is no failure of the server's.
    let _ = if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    match state.fault {
        Fault::Silent => std::future::pending().await,
        Fault::Slow(milliseconds) => {
            let _turn = state.turn.lock().await;
            tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        }
        _ => {}
    }
    let (status, json) = if head.method != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, error("ValidationException", "POST only"))
    } else if let Err(reason) = verify(&head, &body) {
        (StatusCode::UNAUTHORIZED, error("AuthenticationFailedException", reason))
    } else {
        operate(&state, head.uri.path(), &body)
    };
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if state.fault == Fault::CloseAfterEach {
        response = response.header("connection", "close");
    }
    Ok(response.body(Full::from(json.to_string())).unwrap())
}

fn error(name: &str, message: &str) -> Value {
    json!({"errorName": name, "errorMessage": message})
}

fn operate(state: &State, path: &str, body: &[u8]) -> (StatusCode, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (StatusCode::BAD_REQUEST, error("ValidationException", "the body is no JSON"));
    };
    let bytes = |name: &str| STANDARD.decode(body[name].as_str().unwrap_or_default()).unwrap();
    match path.strip_prefix(URI_PATH) {
        Some("/health") => (
            StatusCode::OK,
            json!({"xksProxyFleetSize": 1, "xksProxyVendor": "Test", "xksProxyModel": "Test 1", "ekmVendor": "Test",
                "ekmFleetDetails": [{"id": "1", "model": "Test", "healthStatus": "ACTIVE"}]}),
        ),
        Some("/keys/demo/metadata") => (
            StatusCode::OK,
            json!({"keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED"}),
        ),
        Some("/keys/demo/encrypt") => {
            let aad = bytes("additionalAuthenticatedData");
            let mut iv = [0_u8; 12];
            iv[4..].copy_from_slice(&state.nonce.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            let framed = frame(&aad, METADATA);
            let mut sealed = cipher()
                .encrypt(&Nonce::from(iv), Payload { msg: &bytes("plaintext"), aad: &framed })
                .unwrap();
            let tag = sealed.split_off(sealed.len() - 16);
            let mut answer = json!({"ciphertext": STANDARD.encode(&sealed), "ciphertextMetadata": STANDARD.encode(METADATA),
                "initializationVector": STANDARD.encode(iv), "authenticationTag": STANDARD.encode(&tag)});
            if body["ciphertextDataIntegrityValueAlgorithm"] == "SHA_256" {
                let hash = Sha256::digest([&aad[..], METADATA, &iv, &sealed, &tag].concat());
                answer["ciphertextDataIntegrityValue"] = STANDARD.encode(hash).into();
            }
            (StatusCode::OK, answer)
        }
        Some("/keys/demo/decrypt") => {
            let framed = frame(&bytes("additionalAuthenticatedData"), &bytes("ciphertextMetadata"));
            let sealed = [bytes("ciphertext"), bytes("authenticationTag")].concat();
            let Ok(iv) = <[u8; 12]>::try_from(bytes("initializationVector")) else {
                return (StatusCode::BAD_REQUEST, error("ValidationException", "IV"));
            };
            match cipher().decrypt(&Nonce::from(iv), Payload { msg: &sealed, aad: &framed }) {
                Ok(mut plaintext) => {
                    if state.fault == Fault::WrongPlaintext {
                        plaintext[0] ^= 1;
                    }
                    (StatusCode::OK, json!({"plaintext": STANDARD.encode(plaintext)}))
                }
                Err(_) => (StatusCode::BAD_REQUEST, error("InvalidCiphertextException", "not authentic")),
            }
        }
        _ => (StatusCode::NOT_FOUND, error("KeyNotFoundException", "no such key")),
    }
}

fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(&[7_u8; 32].into())
}

fn frame(aad: &[u8], metadata: &[u8]) -> Vec<u8> {
    let lengths = (u16::try_from(aad.len()).unwrap().to_be_bytes(), [u8::try_from(metadata.len()).unwrap()]);
    [&lengths.0[..], aad, &lengths.1[..], metadata].concat()
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SigV4 from AWS's description: canonical request, string to sign, derived key, signature.
fn verify(head: &http::request::Parts, body: &[u8]) -> Result<(), &'static str> {
    let header = |name: &str| -> Option<String> {
        let value =
            head.headers.get(name).and_then(|value| value.to_str().ok()).map(|text| text.trim().to_owned());
        value.or_else(|| (name == "host").then(|| head.uri.authority().map(ToString::to_string)).flatten())
    };
    let authorization = header("authorization").ok_or("unsigned")?;
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("scheme")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or("a field is missing")
    };
    let credential: Vec<&str> = field("Credential")?.split('/').collect();
    let [id, date, region, service, "aws4_request"] = credential[..] else { return Err("scope") };
    if id != ACCESS_KEY_ID || service != "kms-xks-proxy" {
        return Err("credential or service");
    }
    let names = field("SignedHeaders")?;
    for needed in ["host", "x-amz-date"] {
        if !names.split(';').any(|name| name == needed) {
            return Err("host and x-amz-date must be signed");
        }
    }
    let timestamp = header("x-amz-date").ok_or("no date")?;
    if !timestamp.starts_with(date) || seconds(&timestamp).ok_or("date")?.abs_diff(now()) > 300 {
        return Err("date");
    }
    let mut canonical = format!("{}\n{}\n\n", head.method, head.uri.path());
    for name in names.split(';') {
        canonical += &format!("{name}:{}\n", header(name).ok_or("a signed header is missing")?);
    }
    canonical += &format!("\n{names}\n{}", hex(&Sha256::digest(body)));
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = hmac(&key, part);
    }
    if hex(&hmac(&key, &to_sign)) == field("Signature")? { Ok(()) } else { Err("signature") }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Seconds since 1970 of `YYYYMMDDTHHMMSSZ`, by counting days one year and one month at a time.
fn seconds(timestamp: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| timestamp.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut days: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths.iter().take(usize::try_from(month).ok()?.checked_sub(1)?).sum::<u64>() + day - 1;
    Some(days * 86_400 + number(9..11)? * 3_600 + number(11..13)? * 60 + number(13..15)?)
}
