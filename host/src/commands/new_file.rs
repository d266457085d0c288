//! Files and folders that are made and never overwrite anything.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who may read a new file.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// 0600.
    Secret,
    /// 0644, as the umask allows.
    Public,
}

/// A file or folder that couldn't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't make {}{hint}", path.display())]
pub struct NewFileError {
    path: PathBuf,
    hint: &'static str,
    source: io::Error,
}

impl NewFileError {
    fn new(path: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AlreadyExists => "; nothing is overwritten, so name another or remove it first",
            io::ErrorKind::NotFound => "; its folder must exist",
            _ => "",
        };
        Self { path: path.to_owned(), hint, source }
    }
}

/// Makes a file with its content on the disk.
pub fn write(path: &Path, content: &[u8], mode: Mode) -> Result<(), NewFileError> {
    let mode = match mode {
        Mode::Secret => 0o600,
        Mode::Public => 0o644,
    };
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let fill = |mut file: std::fs::File| {
        file.write_all(content)?;
        file.sync_all()
    };
    let file = open().map_err(|error| NewFileError::new(path, error))?;
    fill(file).map_err(|error| {
        // Half a file is worse than none; the first error is the one to tell.
        let _ = std::fs::remove_file(path);
        NewFileError::new(path, error)
    })
}

/// Makes a folder that only its owner can enter.
pub fn private_folder(path: &Path) -> Result<(), NewFileError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| NewFileError::new(path, error))
}
