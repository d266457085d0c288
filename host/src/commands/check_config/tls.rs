//! The server's certificate and its key.

use super::checks::Checks;
use crate::config::TlsFiles;
use crate::server::tls;

pub fn check(checks: &mut Checks<'_>, files: &TlsFiles) {
    const CERTIFICATE: &str = "server.tls.certificate";
    const KEY: &str = "server.tls.private_key";
    let chain =
        tls::certificates(&files.certificate).map_err(|error| checks.problem(CERTIFICATE, error.to_string()));
    let key = tls::private_key(&files.private_key).map_err(|error| checks.problem(KEY, error.to_string()));
    let (Ok(chain), Ok(key)) = (chain, key) else { return };
    match tls::acceptor(chain, key) {
        Ok(_) => checks.right(format!("certificate {} and its key", files.certificate.display())),
        Err(error) => checks.problem(KEY, error.to_string()),
    }
}
