//! TLS 1.2 and 1.3 with the specification's cipher suites (checklist T3), HTTP/2 or HTTP/1.1 by ALPN. The certificate and
//! its key are read again when their files change.

use crate::config::TlsFiles;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ServerConfig};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate can be read.
    #[error("can't read the certificate {}: {why}; PEM is needed", path.display())]
    Certificate {
        /// Where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The key can't be read.
    #[error("can't read the private key {}: {why}; PEM (PKCS#8, PKCS#1 or SEC1) is needed", path.display())]
    PrivateKey {
        /// Where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Certificate and key don't go together, or can't be used.
    #[error("the TLS certificate and private key can't be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// What the specification lists, and no more.
const SUITES: [CipherSuite; 4] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to use the same pair.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The certificates of a PEM file, one at least.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why| TlsError::Certificate { path: path.to_owned(), why };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() { Err(failed("it holds none".into())) } else { Ok(chain) }
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::PrivateKey { path: path.to_owned(), why: error.to_string() })
}

/// What accepts connections with this certificate.
pub fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, TlsError> {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| SUITES.contains(&suite.suite()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate that new connections get.
pub struct ServedCertificate {
    files: TlsFiles,
    /// As they were when `current` was read.
    read: Identity,
    current: RwLock<TlsAcceptor>,
}

/// What tells one state of both files from another without reading them.
type Identity = [Option<(u64, u64, i64, i64)>; 2];

impl ServedCertificate {
    /// Reads both files.
    pub fn read(files: &TlsFiles) -> Result<Arc<ServedCertificate>, TlsError> {
        let read = identity(files);
        let current = RwLock::new(read_pair(files)?);
        Ok(Arc::new(ServedCertificate { files: files.clone(), read, current }))
    }

    /// For a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new pair when the files have changed and nobody is writing them any more. What can't be used is told, and
    /// the pair before stays. Never ends.
    pub async fn keep_renewing(self: Arc<Self>) {
        let mut used = self.read;
        let mut before = used;
        let mut refused: Option<(Identity, Instant)> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let files = self.files.clone();
            // Their disk may hang.
            let Ok(now) = tokio::task::spawn_blocking(move || identity(&files)).await else { continue };
            // One file is written before the other: a pair is whole once neither changes.
            let settled = std::mem::replace(&mut before, now) == now;
            let was_refused = refused.is_some_and(|(what, when)| what == now && when.elapsed() < AGAIN_AFTER);
            if now == used || !settled || was_refused {
                continue;
            }
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || read_pair(&files)).await;
            let why = match read {
                Ok(Ok(acceptor)) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                    (used, refused) = (now, None);
                    tracing::info!(certificate = %self.files.certificate.display(), "new connections get the new TLS certificate");
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "reading it panicked".to_owned(),
            };
            refused = Some((now, Instant::now()));
            tracing::error!(%why, "the new TLS certificate is not used; the one before is, until it expires");
        }
    }
}

fn read_pair(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    acceptor(certificates(&files.certificate)?, private_key(&files.private_key)?)
}

fn identity(files: &TlsFiles) -> Identity {
    [&files.certificate, &files.private_key].map(|path| {
        let metadata = path.metadata().ok()?;
        Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    })
}
