//! The file as the audit thread keeps it: written to, synced, followed when it is moved.

use super::error::AuditError;
use super::sink::{Appended, Sink};
use crate::config::Fsync;
use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What the thread writes to.
pub(super) struct Kept {
    sink: Sink,
    fsync: Fsync,
    synced: bool,
    syncing: Option<JoinHandle<io::Result<()>>>,
    pub(super) looked: Instant,
    /// The failure that was told, as long as it lasts.
    pub(super) told: Option<AuditError>,
    /// The same of looking after the file.
    told_of_looking: Option<String>,
}

impl Kept {
    pub(super) fn open(path: &Path, fsync: Fsync) -> Result<Kept, AuditError> {
        let sink = Sink::open(path).map_err(|error| sink_error(path, &error))?;
        let looked = Instant::now();
        Ok(Kept { sink, fsync, synced: true, syncing: None, looked, told: None, told_of_looking: None })
    }

    /// Whether a write ends soon, as far as is known: no pipe, no device, no sync for each.
    pub(super) fn is_quick(&self) -> bool {
        self.sink.is_plain && self.fsync != Fsync::Group
    }

    /// Appends records.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<Appended, AuditError> {
        let result = self.sink.append(bytes).and_then(|appended| {
            self.synced = false;
            if self.fsync == Fsync::Group {
                self.sync()?;
            }
            Ok(appended)
        });
        result.map_err(|error| sink_error(&self.sink.path, &error))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sink.sync()?;
        self.synced = true;
        Ok(())
    }

    /// Syncs in a thread of its own: a disk that is slow to sync holds up no record, which only has to be written.
    fn sync_beside(&mut self) -> io::Result<()> {
        if self.syncing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        if let Some(Ok(Err(error))) = self.syncing.take().map(JoinHandle::join) {
            self.synced = false;
            return Err(error);
        }
        if !self.synced && self.sink.is_plain {
            let file = self.sink.file.try_clone()?;
            self.syncing =
                Some(thread::Builder::new().name("audit-sync".into()).spawn(move || file.sync_data())?);
            self.synced = true;
        }
        Ok(())
    }

    /// Once a second and at the end: syncs where that is configured, and follows a file that was rotated away.
    pub(super) fn look(&mut self, closed: bool) {
        self.looked = Instant::now();
        let synced = match self.fsync {
            Fsync::Never => Ok(()),
            Fsync::Interval if !closed => self.sync_beside(),
            // The last one, and after an fsync that is under way, as it may be of an older file.
            Fsync::Interval | Fsync::Group => {
                let before = self.syncing.take().map_or(Ok(Ok(())), JoinHandle::join).unwrap_or(Ok(()));
                let after = if self.synced && !closed { Ok(()) } else { self.sync() };
                before.and(after)
            }
        };
        let failure = match (synced, self.sink.reopen_if_moved()) {
            (Ok(()), Ok(())) => None,
            (Err(error), _) => Some(format!("it can't be synced: {error}")),
            (_, Err(error)) => Some(format!("it can't be opened anew, so the old file is used: {error}")),
        };
        if let Some(why) = &failure
            && failure != self.told_of_looking
        {
            tracing::error!(path = %self.sink.path.display(), why, "the audit log");
        }
        self.told_of_looking = failure;
    }
}

pub(super) fn sink_error(path: &Path, error: &io::Error) -> AuditError {
    AuditError::Sink { path: path.display().to_string(), why: error.to_string() }
}
