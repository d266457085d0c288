//! The server's certificate and its key.

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Checks;
use crate::config::TlsFiles;

pub fn check(checks: &mut Checks<'_>, files: &TlsFiles) {
    const CERTIFICATE: &str = "server.tls.certificate";
    const KEY: &str = "server.tls.private_key";
    let chain =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let key = PrivateKeyDer::from_pem_file(&files.private_key);
    let shown = files.certificate.display();
    if let Err(error) = &chain {
        checks.problem(CERTIFICATE, format!("can't read {shown}: {error}; PEM is needed"));
    }
    if let Err(error) = &key {
        let shown = files.private_key.display();
        checks.problem(KEY, format!("can't read {shown}: {error}; PEM (PKCS#8, PKCS#1 or SEC1) is needed"));
    }
    let (Ok(chain), Ok(key)) = (chain, key) else { return };
    if chain.is_empty() {
        checks.problem(CERTIFICATE, format!("{shown} holds no certificate"));
        return;
    }
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => checks.right(format!("certificate {shown} and its key")),
        Err(error) => checks.problem(KEY, format!("can't serve with this key and {shown}: {error}")),
    }
}
