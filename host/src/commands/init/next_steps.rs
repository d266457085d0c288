//! What `init` prints.

use std::net::SocketAddr;
use std::path::Path;

use super::arguments::{Arguments, CREDENTIAL_FILE, DEMO, SealKind};
use super::template::PASSPHRASE_VARIABLE;

/// What was made, and the commands that come next.
pub fn text(arguments: &Arguments, listen: SocketAddr) -> String {
    let folder = &arguments.folder;
    let path = |name: &str| quoted(&folder.join(name));
    let config = path("holdfast.toml");
    let scheme = if arguments.plain_http { "http" } else { "https" };
    let here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    let host = if here { "localhost".to_owned() } else { listen.ip().to_string() };
    let ca = if arguments.plain_http { String::new() } else { format!(" --ca {}", path("tls/ca.pem")) };
    let region = match arguments.region.as_str() {
        "us-east-1" => String::new(),
        region => format!(" --region {region}"),
    };
    let secret = match arguments.seal {
        SealKind::KeyFile => "\
Keep copies of keystore.holdfast and keystore.seal, apart from each other: with both anyone has the keys,
with one nobody has."
            .to_owned(),
        SealKind::Passphrase => {
            format!("The keystore opens with the passphrase in ${PASSPHRASE_VARIABLE} and with nothing else.")
        }
    };
    format!(
        "\
Made {folder}: key store {DEMO} with key {DEMO} and one credential.
{secret}

Serve it:
  holdfast serve --config {config}
Call it, in another terminal:
  holdfast call encrypt --url {scheme}://{host}:{port}{ca} --credential {credential}{region} --key {DEMO} --plaintext hello
Say who may use which key:
  edit {policy}, then: holdfast check-config {config}
Connect AWS KMS: {credential} is what its console takes; {scheme}://{host} must be reachable by it under a name and
certificate of your own.",
        folder = quoted(folder),
        port = listen.port(),
        credential = path(CREDENTIAL_FILE),
        policy = path("policy.cedar"),
    )
}

/// As a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
