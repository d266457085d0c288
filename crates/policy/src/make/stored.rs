//! Snapshots kept on disk, so that a restart needn't read the document again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// Part of every name: another host or another wizer may make other snapshots.
const FORMAT: &str = concat!("holdfast-snapshot-1-", env!("CARGO_PKG_VERSION"));

/// A private folder of snapshots, by component and document.
pub(crate) struct SnapshotFolder {
    path: PathBuf,
}

impl SnapshotFolder {
    /// Opens the folder, creating it where there is none. Only its owner may read or write it: whoever can change a
    /// snapshot changes the policy.
    pub(crate) fn open(path: &Path) -> io::Result<SnapshotFolder> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let metadata = fs::metadata(path)?;
        // SAFETY: geteuid has no preconditions and can't fail.
        let user = unsafe { libc::geteuid() };
        if metadata.uid() != user || metadata.mode() & 0o077 != 0 {
            let advice =
                "it must belong to the user that the host runs as, and nobody else may enter (chmod 700)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, advice));
        }
        Ok(SnapshotFolder { path: path.to_owned() })
    }

    /// The snapshot of this component and this document, if it is there and whole.
    pub(crate) fn get(&self, component: &str, revision: &str) -> Option<Vec<u8>> {
        let file = self.file(component, revision);
        let stored = fs::read(&file).ok()?;
        let (digest, snapshot) = stored.split_at_checked(32)?;
        holdfast_sandbox::mark_used(&file);
        (Sha256::digest(snapshot).as_slice() == digest).then(|| snapshot.to_vec())
    }

    /// Keeps a snapshot: a crash leaves either all of it or nothing.
    pub(crate) fn put(&self, component: &str, revision: &str, snapshot: &[u8]) -> io::Result<()> {
        let target = self.file(component, revision);
        let partial = target.with_extension(format!("{}.partial", std::process::id()));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(&Sha256::digest(snapshot))?;
            file.write_all(snapshot)?;
            fs::rename(&partial, &target)
        };
        write().inspect_err(|_| {
            // What is left of it is of no use; that it can't be removed either changes nothing.
            let _ = fs::remove_file(&partial);
        })
    }

    fn file(&self, component: &str, revision: &str) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [FORMAT, component, revision] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        self.path.join(format!("{}.snapshot", hex(&hash.finalize())))
    }
}
