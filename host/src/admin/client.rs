//! The other end: commands talk to the running host.

use super::frame;
use super::protocol::{Command, Outcome, REPLY_LIMIT, Reply, Request, VERSION};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// Why a command wasn't done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("no host answers on {path}; start it with `holdfast serve`", path = .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The host went away.
    #[error("the host stopped answering: {0}; `holdfast policy status` tells what is in force")]
    Lost(io::Error),
    /// The host refused; nothing has changed.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// Whether there is no host to talk to.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ClientError::Unreachable { .. })
    }
}

/// A connection to a host.
#[derive(Debug)]
pub struct AdminClient {
    stream: UnixStream,
}

impl AdminClient {
    /// Connects.
    pub async fn connect(path: &Path) -> Result<AdminClient, ClientError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|source| ClientError::Unreachable { path: path.to_owned(), source })?;
        Ok(AdminClient { stream })
    }

    /// Has a command done. `artefact` is what [`Command::Stage`] announces; `progress` hears what goes on.
    pub async fn call(
        &mut self,
        command: Command,
        artefact: &[u8],
        mut progress: impl FnMut(&str),
    ) -> Result<Outcome, ClientError> {
        let request = Request { protocol: VERSION, command };
        let sent = async {
            frame::write(&mut self.stream, &request).await?;
            self.stream.write_all(artefact).await
        };
        // A host that refuses early may have stopped reading; what it said is there to be read.
        let sent = sent.await;
        loop {
            match frame::read(&mut self.stream, REPLY_LIMIT).await {
                Ok(Some(Reply::Progress(text))) => progress(&text),
                Ok(Some(Reply::Done(outcome))) => return Ok(outcome),
                Ok(Some(Reply::Refused(why))) => return Err(ClientError::Refused(why)),
                Ok(None) => {
                    let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(ClientError::Lost(sent.err().unwrap_or_else(gone)));
                }
                Err(error) => return Err(ClientError::Lost(error)),
            }
        }
    }
}
