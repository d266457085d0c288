//! The socket itself, and who may use it.

use super::answer::serve;
use holdfast_policy::life::Lifecycle;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Commands at a time.
const CONNECTIONS: usize = 8;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody does already.
    #[error("another host listens on the admin socket {}; give each host its own [admin] socket", .0.display())]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{} is there and isn't a socket; remove it, or choose another [admin] socket", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refused.
    #[error("can't listen on the admin socket {path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A socket that is listened on; its file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    inode: u64,
    task: tokio::task::JoinHandle<()>,
}

impl AdminSocket {
    /// Listens on `path`, in the place of a socket that a dead host left behind.
    pub async fn open(path: &Path, lifecycle: Arc<Lifecycle>) -> Result<AdminSocket, ListenError> {
        let failed = |source| ListenError::Io { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()) => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).await.is_ok() => {
                return Err(ListenError::Taken(path.to_owned()));
            }
            _ => {}
        }
        // Nobody else ever sees it with another mode: it gets its name after it got its mode.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(failed)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)?;
        let inode = std::fs::symlink_metadata(path).map_err(failed)?.ino();
        let task = tokio::spawn(accept(listener, lifecycle));
        Ok(AdminSocket { path: path.to_owned(), inode, task })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.task.abort();
        // Another host may have taken the name since.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn accept(listener: UnixListener, lifecycle: Arc<Lifecycle>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection on the admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(by) = allowed(&stream) else { continue };
        let lifecycle = lifecycle.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &lifecycle, &by).await {
                tracing::info!(%error, by, "a connection on the admin socket ended early");
            }
            drop(slot);
        });
    }
}

/// Who is at the other end, if they may command: this user, or root. The mode says so too, but a mode is soon changed.
fn allowed(stream: &UnixStream) -> Option<String> {
    // SAFETY: geteuid has no preconditions and can't fail.
    let own = unsafe { libc::geteuid() };
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => Some(format!("uid {}", peer.uid())),
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "another user on the admin socket is turned away");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "who is on the admin socket can't be known; turned away");
            None
        }
    }
}
