//! The file that records are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open log.
pub(super) struct Sink {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// A file on a disk, no pipe or device: a write ends.
    pub(super) is_plain: bool,
    /// A write ended in the middle of a line.
    torn: bool,
}

impl Sink {
    /// Opens for appending; mode 0600 when it is new.
    pub(super) fn open(path: &Path) -> io::Result<Sink> {
        let file = open(path)?;
        let is_plain = file.metadata()?.is_file();
        // A line that a crash cut short is ended, so that the next record is readable.
        let torn = ends_torn(path, &file)?;
        Ok(Sink { path: path.to_owned(), file, is_plain, torn })
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Nobody would ever read what is written to a removed file; a file that was renamed is still read.
        if links(&self.file)? == 0 {
            *self = Sink::open(&self.path.clone())?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Follows the path when another file stands there, as after a rotation.
    pub(super) fn reopen_if_moved(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let same = match self.path.metadata() {
            Ok(there) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !same {
            *self = Sink::open(&self.path.clone())?;
        }
        Ok(())
    }
}

/// How many names the file has. This is asked before every write, and `fstat` is several times cheaper than the `statx`
/// that the standard library uses.
fn links(file: &File) -> io::Result<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open as long as `file`, and the kernel writes a whole `stat` or says that it failed.
    if unsafe { libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstat succeeded, so it is written.
    Ok(unsafe { stat.assume_init() }.st_nlink)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn ends_torn(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, metadata.len() - 1)?;
    Ok(last != *b"\n")
}
