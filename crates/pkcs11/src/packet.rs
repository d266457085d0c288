//! A pair of connected sockets that keep messages apart (`SOCK_SEQPACKET`), between the host and a worker process.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The longest message: the longest AAD (65,538 bytes framed), input and some more.
pub(crate) const LONGEST: usize = 192 * 1024;

/// One end.
pub(crate) struct Packets(OwnedFd);

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

impl Packets {
    /// Both ends. Neither is inherited by a process that is started.
    pub(crate) fn pair() -> io::Result<(Packets, OwnedFd)> {
        let mut ends = [0; 2];
        // SAFETY: writes two descriptors.
        let result = unsafe {
            libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
        };
        check(result as isize)?;
        // SAFETY: they were made above and belong to nobody else.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        let ours = Packets(ours);
        // Room for many; the system may give less.
        for fd in [ours.0.as_raw_fd(), theirs.as_raw_fd()] {
            let size: libc::c_int = 1 << 20;
            set_option(fd, libc::SO_SNDBUF, &size)?;
        }
        Ok((ours, theirs))
    }

    /// An end that was inherited.
    pub(crate) fn from_fd(fd: OwnedFd) -> Packets {
        Packets(fd)
    }

    /// Sends a message. With `wait` false it fails with `WouldBlock` where there is no room.
    pub(crate) fn send(&self, message: &[u8], wait: bool) -> io::Result<()> {
        let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
        loop {
            // SAFETY: reads the message's bytes.
            let sent = check(unsafe {
                libc::send(self.0.as_raw_fd(), message.as_ptr().cast(), message.len(), flags)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// Waits for a message. Empty: the other end is closed.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a mut [u8]> {
        loop {
            // SAFETY: writes within the buffer. With MSG_TRUNC the message's own length is returned.
            let received = check(unsafe {
                libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_TRUNC)
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(len) if len > buffer.len() => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
                }
                Ok(len) => return Ok(&mut buffer[..len]),
                Err(error) => return Err(error),
            }
        }
    }

    /// How long [`Packets::receive`] waits before it fails with `WouldBlock`; none for ever.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        let patience = patience.unwrap_or_default();
        let time = libc::timeval {
            tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_usec: libc::suseconds_t::from(patience.subsec_micros()),
        };
        set_option(self.0.as_raw_fd(), libc::SO_RCVTIMEO, &time)
    }

    /// Ends both directions; a waiting [`Packets::receive`] returns.
    pub(crate) fn shut_down(&self) {
        // SAFETY: takes numbers only. It fails where the other end is gone, which is as well.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

fn set_option<T>(fd: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // Small types only.
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: reads a value of that length.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const *value).cast(), len) };
    check(result as isize).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_apart_and_the_end_is_seen() {
        let (ours, theirs) = Packets::pair().unwrap();
        let theirs = Packets::from_fd(theirs);
        let long = vec![7; LONGEST];
        theirs.send(b"one", true).unwrap();
        theirs.send(&long, true).unwrap();
        let mut buffer = vec![0; LONGEST];
        assert_eq!(ours.receive(&mut buffer).unwrap(), b"one");
        assert_eq!(ours.receive(&mut buffer).unwrap(), long);
        drop(theirs);
        assert_eq!(ours.receive(&mut buffer).unwrap(), b"");
    }

    #[test]
    fn patience_ends() {
        let (ours, _theirs) = Packets::pair().unwrap();
        ours.set_patience(Some(Duration::from_millis(10))).unwrap();
        assert_eq!(ours.receive(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
