//! The file that records are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often the same records are written, one after the other, to files that are moved away meanwhile.
const TRIES: usize = 8;

/// An open log.
pub(super) struct Sink {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// A file on a disk, no pipe or device.
    pub(super) is_plain: bool,
    /// Device and inode: while it is open they are nobody else's.
    identity: (u64, u64),
    /// Bytes that a plain file had when it was left.
    length: u64,
    /// A write ended in the middle of a line.
    torn: bool,
}

/// What was found while appending.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Appended {
    /// The file was shorter than it was left: somebody has cut it.
    pub(super) was_shortened: bool,
}

impl Sink {
    /// Opens for appending; mode 0600 when it is new.
    pub(super) fn open(path: &Path) -> io::Result<Sink> {
        let file = open(path)?;
        let is_plain = file.metadata()?.is_file();
        let opened = status(&file)?;
        let length = if is_plain { opened.st_size.unsigned_abs() } else { 0 };
        let identity = (opened.st_dev, opened.st_ino);
        // A line that a crash cut short is ended, so that the next record is readable.
        let torn = ends_torn(path, &file)?;
        Ok(Sink { path: path.to_owned(), file, is_plain, identity, length, torn })
    }

    /// Appends whole lines, to what the path leads to once they are written.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Appended> {
        let mut appended = Appended::default();
        for _ in 0..TRIES {
            self.write(bytes)?;
            if !self.is_plain {
                return Ok(appended);
            }
            let there = match status_at(&self.path) {
                Ok(there) if (there.st_dev, there.st_ino) == self.identity => there,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {
                    // Whoever moved it may have read it already, or have removed it.
                    *self = Sink::open(&self.path.clone())?;
                    continue;
                }
            };
            let (length, expected) = (there.st_size.unsigned_abs(), self.length + bytes.len() as u64);
            self.length = length;
            if length >= expected {
                return Ok(appended);
            }
            appended.was_shortened = true;
            // What was written may have gone with the rest.
        }
        Err(io::Error::other("it was moved away or cut again and again, just when it was written"))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            // It may have been cut to nothing since.
            if ends_torn(&self.path, &self.file)? {
                self.file.write_all(b"\n")?;
            }
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
                Err(error) => {
                    self.take_back((bytes.len() - rest.len()) as u64);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes the part of a line that a full disk had room for, if nobody has written behind it.
    fn take_back(&mut self, written: u64) {
        let is_last =
            |file: &File| status(file).is_ok_and(|it| it.st_size.unsigned_abs() == self.length + written);
        if self.is_plain && written > 0 && is_last(&self.file) && self.file.set_len(self.length).is_ok() {
            self.torn = false;
        }
    }

    /// Everything on the disk, where there is one.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_plain { self.file.sync_data() } else { Ok(()) }
    }

    /// Follows the path when another file stands there, as after a rotation.
    pub(super) fn reopen_if_moved(&mut self) -> io::Result<()> {
        let same = match status_at(&self.path) {
            Ok(there) => (there.st_dev, there.st_ino) == self.identity,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !same {
            *self = Sink::open(&self.path.clone())?;
        }
        Ok(())
    }
}

/// `fstat`, several times cheaper than the `statx` that the standard library uses: it is asked after every write.
fn status(file: &File) -> io::Result<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open as long as `file`, and the kernel writes a whole `stat` or says that it failed.
    if unsafe { libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstat succeeded, so it is written.
    Ok(unsafe { stat.assume_init() })
}

/// `stat`, through links.
fn status_at(path: &Path) -> io::Result<libc::stat> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path ends with a zero and lives as long as the call; the kernel writes a whole `stat` or says that it failed.
    if unsafe { libc::stat(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: stat succeeded, so it is written.
    Ok(unsafe { stat.assume_init() })
}

/// Opens it without waiting for a reader of a FIFO, which may never come.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
    let opened = options.open(path);
    // A socket that systemd has made the standard output can't be opened again, and is open already.
    if let (Err(error), Some(standard)) = (&opened, standard(path))
        && error.raw_os_error() == Some(libc::ENXIO)
    {
        return Ok(File::from(standard?));
    }
    let file = opened.map_err(|error| match path.metadata() {
        Ok(there) if error.raw_os_error() == Some(libc::ENXIO) && there.file_type().is_fifo() => {
            io::Error::other("it is a FIFO that nobody reads; start its reader first")
        }
        Ok(there) if there.file_type().is_socket() => {
            io::Error::other("it is a socket; a file, a FIFO or a device is needed")
        }
        _ => error,
    })?;
    // Writes wait for a slow reader: that is this thread's work.
    // SAFETY: the descriptor is open; both calls take and give integers.
    let cleared = unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        flags >= 0 && libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) >= 0
    };
    if cleared { Ok(file) } else { Err(io::Error::last_os_error()) }
}

/// Another descriptor of the standard output or error, if the path is that.
fn standard(path: &Path) -> Option<io::Result<std::os::fd::OwnedFd>> {
    use std::os::fd::AsFd;
    match path.to_str()? {
        "/dev/stdout" | "/proc/self/fd/1" => Some(io::stdout().as_fd().try_clone_to_owned()),
        "/dev/stderr" | "/proc/self/fd/2" => Some(io::stderr().as_fd().try_clone_to_owned()),
        _ => None,
    }
}

/// Whether a plain file's last line has no end.
fn ends_torn(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata().map(|it| if it.is_file() { it.len() } else { 0 })?;
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    match File::open(path).and_then(|file| file.read_exact_at(&mut last, length - 1)) {
        Ok(()) => Ok(last != *b"\n"),
        // It may only be written to, or was cut or moved just now.
        Err(_) => Ok(false),
    }
}
