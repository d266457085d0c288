//! Typed, signed requests to one key store.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HOST};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{Answer, Connection, Protocol, TransportError};
use crate::endpoint::Endpoint;
use crate::message::{
    Decrypt, Decrypted, Encrypt, Encrypted, ErrorBody, Health, KeyMetadata, MetadataOnly, Mismatch,
    Operation, RequestMetadata,
};
use crate::sign::{SignError, Signer};
use crate::tls::Trust;

/// A refusal by the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {name}{colon}{text}",
        name = if name.is_empty() { "(no errorName)" } else { name },
        colon = if message.is_some() { ": " } else { "" },
        text = message.as_deref().unwrap_or(""))]
pub struct ServerError {
    /// The HTTP status.
    pub status: u16,
    /// `errorName`; empty where the answer has none.
    pub name: String,
    /// `errorMessage`.
    pub message: Option<String>,
}

impl ServerError {
    /// Reads an answer that isn't 200.
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        let error: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
        Self { status: status.as_u16(), name: error.error_name, message: error.error_message }
    }
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Nothing came back.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The request couldn't be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The key id can't stand in a path.
    #[error("{key:?} is no key id: 1 to 128 of A-Z, a-z, 0-9, '-', '.' and '_', but not '.' or '..'")]
    KeyId {
        /// As given.
        key: String,
    },
    /// A 200 whose body isn't what the specification says.
    #[error("the server's 200 is wrong: {0}")]
    Wrong(String),
}

impl From<Mismatch> for CallError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Wrong(mismatch.to_string())
    }
}

/// A signed client of one key store over one connection, which it opens again when it was lost.
pub struct Client {
    endpoint: Endpoint,
    trust: Trust,
    protocol: Protocol,
    signer: Signer,
    connection: Option<Connection>,
}

impl Client {
    /// Doesn't connect yet.
    pub fn new(endpoint: Endpoint, trust: Trust, protocol: Protocol, signer: Signer) -> Self {
        Self { endpoint, trust, protocol, signer, connection: None }
    }

    /// A request to `operation`, signed now. `key` is ignored for health.
    pub fn request(
        &self,
        operation: Operation,
        key: &str,
        body: &impl Serialize,
    ) -> Result<http::Request<Bytes>, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| SignError::Request(error.to_string()))?;
        self.raw_request(operation, key, body.into(), SystemTime::now())
    }

    /// The same with any body, signed for any time.
    pub fn raw_request(
        &self,
        operation: Operation,
        key: &str,
        body: Bytes,
        now: SystemTime,
    ) -> Result<http::Request<Bytes>, CallError> {
        if operation != Operation::Health && !is_key_id(key) {
            return Err(CallError::KeyId { key: key.to_owned() });
        }
        let mut request = http::Request::post(format!("{}{}", self.endpoint.uri_path(), operation.path(key)))
            .header(HOST, self.endpoint.authority())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| SignError::Request(error.to_string()))?;
        self.signer.sign(&mut request, now)?;
        Ok(request)
    }

    /// Connects unless connected; says how long that took, or nothing.
    pub async fn connect(&mut self) -> Result<Option<Duration>, TransportError> {
        if self.connection.is_some() {
            return Ok(None);
        }
        let start = std::time::Instant::now();
        self.connection = Some(Connection::open(&self.endpoint, &self.trust, self.protocol).await?);
        Ok(Some(start.elapsed()))
    }

    /// Sends a request as it is. After a failure, or a `connection: close`, the next one opens a new connection.
    pub async fn send(&mut self, request: http::Request<Bytes>) -> Result<Answer, TransportError> {
        self.connect().await?;
        // Taken out, so that it is gone if this future is dropped half-way.
        let Some(mut connection) = self.connection.take() else { return Err(TransportError::Timeout) };
        let answer = connection.send(request).await?;
        let close = answer.headers.get(http::header::CONNECTION).is_some_and(|value| value == "close");
        if !close {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// GetHealthStatus.
    pub async fn health(&mut self, metadata: RequestMetadata) -> Result<Health, CallError> {
        let request = self.request(Operation::Health, "", &MetadataOnly { request_metadata: metadata })?;
        read(&self.send(request).await?)
    }

    /// GetKeyMetadata.
    pub async fn metadata(&mut self, key: &str, metadata: RequestMetadata) -> Result<KeyMetadata, CallError> {
        let request = self.request(Operation::Metadata, key, &MetadataOnly { request_metadata: metadata })?;
        read(&self.send(request).await?)
    }

    /// Encrypt. The answer's sizes and CDIV are checked.
    pub async fn encrypt(&mut self, key: &str, body: &Encrypt) -> Result<Encrypted, CallError> {
        let request = self.request(Operation::Encrypt, key, body)?;
        let encrypted: Encrypted = read(&self.send(request).await?)?;
        let aad = body.additional_authenticated_data.as_ref().map_or(&[][..], |aad| &aad.0);
        let with_cdiv = body.ciphertext_data_integrity_value_algorithm.is_some();
        encrypted.check(body.plaintext.0.len(), aad, with_cdiv)?;
        Ok(encrypted)
    }

    /// Decrypt.
    pub async fn decrypt(&mut self, key: &str, body: &Decrypt) -> Result<Vec<u8>, CallError> {
        let request = self.request(Operation::Decrypt, key, body)?;
        let decrypted: Decrypted = read(&self.send(request).await?)?;
        Ok(decrypted.plaintext.0)
    }
}

/// The typed content of an answer.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    if answer.status != StatusCode::OK {
        return Err(ServerError::read(answer.status, &answer.body).into());
    }
    serde_json::from_slice(&answer.body).map_err(|error| CallError::Wrong(error.to_string()))
}

impl Answer {
    /// The body of a 200 as `T`, or the refusal.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        read(self)
    }
}

fn is_key_id(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=128).contains(&key.len()) && key.bytes().all(allowed) && key != "." && key != ".."
}

/// A new `kmsRequestId` in the format of a random UUID.
pub fn new_request_id() -> Result<String, CallError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| CallError::Wrong(format!("the system has no random bytes: {error}")))?;
    Ok(format_request_id(bytes))
}

pub(crate) fn format_request_id(bytes: [u8; 16]) -> String {
    let value = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{value:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
