//! `[policies]` and `[admin]`: whose policies are taken by a running host, where they are kept, and by which socket.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_policy::artefact::TrustedKeys;
use holdfast_policy::life::AutomaticRollback;

use super::reader::Section;
use super::units;

/// `[policies]`.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Public keys of minisign whose signatures of policy artefacts count.
    pub trusted_keys: TrustedKeys,
    /// Whether artefacts without a signature are taken too.
    pub allow_unsigned: bool,
    /// Where staged policies and activations are kept; `None`: the folder `policies` beside the configuration.
    pub folder: Option<PathBuf>,
    /// When a policy is taken back by itself; `None`: never.
    pub automatic_rollback: Option<AutomaticRollback>,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The Unix socket that `holdfast policy` talks to.
    pub socket: PathBuf,
}

/// Linux has 108 bytes for the path of a socket, with a zero at the end; the name that it is made by takes 4 more.
const SOCKET_PATH_LIMIT: usize = 103;

pub fn read_admin(section: Section<'_>) -> Option<Admin> {
    let socket = section.need("socket").and_then(|entry| {
        let path = entry.path()?;
        if path.as_os_str().len() > SOCKET_PATH_LIMIT {
            entry.problem(format!("is longer than a socket's path can be, {SOCKET_PATH_LIMIT} bytes"));
            return None;
        }
        Some(path)
    });
    section.finish();
    Some(Admin { socket: socket? })
}

fn automatic_rollback(section: Section<'_>) -> Option<AutomaticRollback> {
    let failures = match section.get("failures") {
        None => Some(20),
        Some(entry) => entry.integer(1..=1_000_000),
    };
    let allowed = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let within = match section.get("within") {
        None => Some(Duration::from_secs(600)),
        Some(entry) => entry.parsed(|text| units::duration(text, allowed)),
    };
    section.finish();
    Some(AutomaticRollback { failures: failures?, within: within? })
}

pub fn read(section: Section<'_>) -> Option<Policies> {
    let trusted_keys = match section.get("trusted_keys") {
        None => TrustedKeys::default(),
        Some(entry) => {
            let texts = entry.list()?.iter().map(|item| item.text()).collect::<Option<Vec<_>>>()?;
            match TrustedKeys::parse(texts) {
                Ok(keys) => keys,
                Err(error) => {
                    entry.problem(error.to_string());
                    return None;
                }
            }
        }
    };
    let allow_unsigned = match section.get("allow_unsigned") {
        None => false,
        Some(entry) => entry.boolean()?,
    };
    if allow_unsigned {
        section.warn("takes policies that nobody signed; for tests only");
    }
    let folder = match section.get("folder") {
        None => None,
        Some(entry) => Some(entry.path()?),
    };
    let automatic_rollback = match section.section("automatic_rollback") {
        None => None,
        Some(section) => Some(automatic_rollback(section)?),
    };
    section.finish();
    Some(Policies { trusted_keys, allow_unsigned, folder, automatic_rollback })
}
