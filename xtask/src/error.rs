//! What can go wrong in a task, said so that the reader knows what to do next.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },

    /// A program could not be started.
    #[error("can't run `{command}`: {source}")]
    Start { command: String, source: std::io::Error },

    /// A program ended with a failure.
    #[error("`{command}` failed ({status}){output}")]
    Failed { command: String, status: ExitStatus, output: String },

    /// A program was ended because it took too long.
    #[error("`{command}` was ended after {seconds} s")]
    TimedOut { command: String, seconds: u64 },

    /// Something needed isn't there and couldn't be got.
    #[error("{what} is missing.\n{advice}")]
    Missing { what: String, advice: String },

    /// Something else came out than the task says must come out.
    #[error("{0}")]
    Unexpected(String),
}

/// The result of a task or of a part of it.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the action and the file in an error of the file system.
pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { action, path, source }
}
