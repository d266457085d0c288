//! `holdfast init`: a folder with everything that a first key store needs.

mod arguments;
pub(super) mod components;
mod next_steps;
mod sealed;
mod staging;
mod template;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};

use super::new_file::Mode;
use super::{CommandError, Output, Usage};
pub use arguments::{Arguments, SealKind};

use crate::config::{KeyStoreName, UriPathPrefix};
use arguments::{CREDENTIAL_FILE, DEMO};
use staging::Staging;

/// What a new folder begins with.
const STARTER_POLICY: &str = include_str!("../../../examples/policies/starter.cedar");
const DEMO_PREFIX: &str = "/demo";
/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let port = if arguments.plain_http { 8080 } else { 8443 };
    let listen = arguments.listen.unwrap_or((Ipv4Addr::LOCALHOST, port).into());
    if arguments.plain_http && !listen.ip().is_loopback() {
        return Err(
            Usage("--plain-http is for a loopback address, such as --listen 127.0.0.1:8080".into()).into()
        );
    }
    let seal = sealed::new_seal(arguments.seal)?;
    let components = components::find(arguments.components.as_deref())?;

    let staging = Staging::beside(&arguments.folder)?;
    staging.folder("components")?;
    for (name, content) in &components {
        staging.file(&format!("components/{name}"), content, Mode::Public)?;
    }
    if !arguments.plain_http {
        certificates(&staging, listen)?;
    }
    staging.file("policy.cedar", STARTER_POLICY.as_bytes(), Mode::Public)?;
    let toml = template::configuration(listen, arguments.plain_http, arguments.seal, &arguments.region);
    staging.file("holdfast.toml", toml.as_bytes(), Mode::Public)?;
    let name: KeyStoreName = DEMO.parse()?;
    let prefix: UriPathPrefix = DEMO_PREFIX.parse()?;
    let credential = sealed::create(&staging, &seal, &name, &prefix)?;
    staging.file(CREDENTIAL_FILE, credential.expose(), Mode::Secret)?;
    staging.finish()?;

    output.line(next_steps::text(&arguments, listen))?;
    Ok(())
}

fn certificates(staging: &Staging, listen: SocketAddr) -> Result<(), CommandError> {
    let certificates = tls::make(listen.ip())?;
    staging.folder("tls")?;
    staging.file("tls/ca.pem", certificates.authority.as_bytes(), Mode::Public)?;
    staging.file("tls/ca-key.pem", certificates.authority_key.as_bytes(), Mode::Secret)?;
    staging.file("tls/server.pem", certificates.server.as_bytes(), Mode::Public)?;
    staging.file("tls/server-key.pem", certificates.server_key.as_bytes(), Mode::Secret)?;
    Ok(())
}
