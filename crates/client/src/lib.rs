//! A client of AWS KMS External Key Store (XKS) proxies, as AWS KMS itself is one, and a load generator.
//!
//! [`Client`] signs typed requests and sends them over one [`Connection`]; [`load::run`] drives many connections
//! and measures. Neither prints a secret.
//!
//! What it must never do: send a signed request to another host than was named, take a certificate that its [`Trust`] doesn't vouch for,
//! put load on a host that isn't this one unless told to, or print a secret.
//!
//! It exports the client with its messages and errors, and [`load`].

mod client;
mod connection;
mod credential;
mod endpoint;
pub mod load;
pub mod message;
mod sign;
mod tls;

pub use client::{CallError, Client, ServerError, new_request_id};
pub use connection::{Answer, Connection, Protocol, REQUEST_TIMEOUT, TransportError};
pub use credential::{Credential, CredentialError, KmsConfig};
pub use endpoint::{Endpoint, EndpointError};
pub use message::{Operation, RequestMetadata};
pub use sign::{SERVICE, SignError, Signer};
pub use tls::{TlsError, Trust};
