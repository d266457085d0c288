//! The configuration that `init` writes.

use std::net::SocketAddr;

use super::arguments::SealKind;
use crate::config::Region;

const TEMPLATE: &str = include_str!("holdfast.toml");

const TLS: &str = "\
[server.tls]
certificate = \"tls/server.pem\"
private_key = \"tls/server-key.pem\"";

const PLAIN: &str = "\
plain_http = true          # only on a loopback address; instead, [server.tls] with certificate and private_key";

/// The variable that holds the passphrase of a keystore made with `--seal passphrase`.
pub const PASSPHRASE_VARIABLE: &str = "HOLDFAST_PASSPHRASE";

/// Fills in the template.
pub fn configuration(listen: SocketAddr, plain_http: bool, seal: SealKind, region: &Region) -> String {
    let seal = match seal {
        SealKind::KeyFile => "{ key_file = \"keystore.seal\" }".to_owned(),
        SealKind::Passphrase => format!("{{ passphrase_env = \"{PASSPHRASE_VARIABLE}\" }}"),
    };
    TEMPLATE
        .replace("@LISTEN@", &listen.to_string())
        .replace("@TRANSPORT@", if plain_http { PLAIN } else { TLS })
        .replace("@SEAL@", &seal)
        .replace("@REGION@", region.as_str())
}
