//! `[audit]` and `[metrics]`: what the host tells about itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::Section;
use super::server::address;

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// One JSON record a line is appended here.
    pub path: PathBuf,
    /// When records are forced to the disk.
    pub fsync: Fsync,
}

/// When audit records are forced to the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fsync {
    /// By the operating system, when it likes.
    Never,
    /// Every second.
    #[default]
    Interval,
    /// An answer leaves after its record is on the disk; records of concurrent requests share one fsync.
    Group,
}

pub fn read(section: Section<'_>) -> Option<Audit> {
    let path = section.need("path").and_then(|entry| entry.path());
    let fsync = section.get("fsync").map_or(Some(Fsync::default()), |entry| entry.parsed(fsync));
    section.finish();
    Some(Audit { path: path?, fsync: fsync? })
}

fn fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "never" => Ok(Fsync::Never),
        "interval" => Ok(Fsync::Interval),
        "group" => Ok(Fsync::Group),
        _ => Err(format!("{text:?} isn't known; allowed: \"never\", \"interval\", \"group\"")),
    }
}

pub fn read_metrics(section: Section<'_>) -> Option<SocketAddr> {
    let listen = section.need("listen").and_then(|entry| {
        let address = entry.parsed(address)?;
        if !address.ip().is_loopback() {
            entry.problem("metrics are served in plain HTTP, so only a loopback address is allowed");
        }
        Some(address)
    });
    section.finish();
    listen
}
