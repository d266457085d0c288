//! What is spoken on the admin socket.
//!
//! Each message is a length (32 bits, big-endian) and so many bytes of JSON. The client sends a [`Request`]; the bytes of an
//! artefact to be staged follow it, as many as it says, in one piece. The host answers with any number of
//! [`Reply::Progress`] and then one [`Reply::Done`] or [`Reply::Refused`]. A connection takes one request after the other.

use serde::{Deserialize, Serialize};

use holdfast_policy::life::Activation;
use holdfast_policy::life::{Activated, Selection, StageReport, Standing};

/// The version of everything here. A host refuses requests of another one.
pub const VERSION: u32 = 1;
/// Bytes of a request.
pub const REQUEST_LIMIT: u32 = 256 * 1024;
/// Bytes of a reply.
pub const REPLY_LIMIT: u32 = 16 * 1024 * 1024;

/// What is sent to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub protocol: u32,
    /// What to do.
    pub command: Command,
}

/// What the host can be told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Check an artefact and keep it; its bytes follow.
    Stage {
        /// How many bytes follow.
        bytes: u64,
        /// The content of its `.minisig` file.
        signature: Option<String>,
    },
    /// Let a staged artefact decide.
    Activate {
        /// Its digest, the beginning of it, or its `NAME@VERSION`.
        artefact: String,
        /// For which key stores.
        of: Selection,
    },
    /// Go back to what decided before.
    Rollback {
        /// The activation to go back to; 0: the configuration's policy; `None`: the last good one.
        to: Option<u64>,
        /// For which key stores.
        of: Selection,
    },
    /// Let a staged artefact decide beside the active policy without counting.
    Shadow {
        /// As in `Activate`; `None` ends the shadow.
        artefact: Option<String>,
        /// For which key stores.
        of: Selection,
    },
    /// Tell how everything stands.
    Status,
    /// Tell what was activated.
    History {
        /// For which key stores.
        of: Selection,
    },
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// What goes on.
    Progress(String),
    /// It is done.
    Done(Outcome),
    /// It isn't done, and nothing has changed.
    Refused(String),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The artefact can be activated.
    Staged(Box<StageReport>),
    /// Of `Activate` and `Rollback`.
    Activated(Activated),
    /// The key stores that have the shadow, or none any more.
    Shadowed(Vec<String>),
    /// Of `Status`.
    Status(Standing),
    /// By key store, the latest last.
    History(Vec<(String, Vec<Activation>)>),
}
