//! Removes compiled code and snapshots that no host has used for long: each new component, document or version of this
//! program leaves files that are never asked for again.
//!
//! Hosts may share the folder. A file's time of change is when it was last used: it is set when a host reads it, and
//! every day by the hosts that run on it. A file that goes while another host is about to read it is compiled again.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Unused for so long, a file goes.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// File systems keep times less exactly than the clock tells them.
const COARSE: Duration = Duration::from_secs(2);

/// Says that a kept file was used now. That it can't be said is no harm: the file is made again when it is missed.
pub fn mark_used(path: &Path) {
    let marked =
        File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = marked {
        tracing::debug!(%error, path = %path.display(), "can't mark a kept file as used");
    }
}

/// The files that something was loaded from, for as long as it is there.
#[derive(Default)]
pub struct FilesInUse(Mutex<Vec<Loaded>>);

struct Loaded {
    what: Weak<dyn Any + Send + Sync>,
    files: Vec<PathBuf>,
}

impl Loaded {
    fn is_there(&self) -> bool {
        self.what.strong_count() > 0
    }
}

impl FilesInUse {
    /// `what` was loaded from those files of `folder` that were used since `begun`. A few others may be among them.
    pub fn note<T: Any + Send + Sync>(&self, folder: &Path, begun: SystemTime, what: &Arc<T>) {
        let what: Arc<dyn Any + Send + Sync> = what.clone();
        let loaded = Loaded { what: Arc::downgrade(&what), files: used_since(folder, begun) };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(Loaded::is_there);
        all.push(loaded);
    }

    fn now(&self) -> Vec<PathBuf> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(Loaded::is_there);
        all.iter().flat_map(|loaded| loaded.files.iter().cloned()).collect()
    }
}

/// Prunes `folder` now and every day. What was used since `start`, when this host began to load, is in use, and `later`
/// is what it loads afterwards. Never ends.
pub async fn keep_pruning(folder: PathBuf, start: SystemTime, later: Arc<FilesInUse>) {
    let mut first = None;
    loop {
        let (folder, known, later) = (folder.clone(), first.take(), later.clone());
        let pruned = tokio::task::spawn_blocking(move || {
            let first = known.unwrap_or_else(|| used_since(&folder, start));
            (prune_unused(&folder, &first, &later), first)
        });
        let Ok((pruned, used)) = pruned.await else { return };
        first = Some(used);
        match pruned {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "kept files that nobody used for 30 days are removed"),
            Err(error) => tracing::warn!(%error, "can't remove old files of the cache folder"),
        }
        tokio::time::sleep(DAY).await;
    }
}

fn prune_unused(folder: &Path, first: &[PathBuf], later: &FilesInUse) -> io::Result<usize> {
    first.iter().chain(&later.now()).for_each(|path| mark_used(path));
    prune(folder, SystemTime::now())
}

fn used_since(folder: &Path, start: SystemTime) -> Vec<PathBuf> {
    let kept = kept_files(folder).unwrap_or_default().into_iter();
    kept.filter(|(_, used)| *used + COARSE >= start).map(|(path, _)| path).collect()
}

/// How many files went.
fn prune(folder: &Path, now: SystemTime) -> io::Result<usize> {
    let mut gone = 0;
    for (path, used) in kept_files(folder)? {
        let age = now.duration_since(used).unwrap_or_default();
        // What was being written when a host was killed.
        let is_part = path.extension().is_some_and(|extension| extension == "new" || extension == "partial");
        if age < if is_part { DAY } else { KEPT } {
            continue;
        }
        match fs::remove_file(path) {
            Ok(()) => gone += 1,
            // Another host was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// The files that hosts make, and when each was used last. Others that somebody put there stay.
fn kept_files(folder: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = ["compiled", "functions", "snapshot", "new", "partial"];
        if !path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|found| ours.contains(&found))
        {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_file() {
            kept.push((path, metadata.modified()?));
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_used_for_long_goes_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let file = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            File::create(&path).unwrap().set_modified(now - age).unwrap();
            path
        };
        let old = [
            file("a.compiled", KEPT),
            file("b.snapshot", KEPT * 2),
            file("c.1.new", DAY),
            file("d.1.partial", DAY),
        ];
        let stays = [
            file("e.compiled", KEPT - DAY),
            file("f.2.new", DAY / 2),
            file("notes.txt", KEPT * 2),
            file("g.snapshot", Duration::ZERO),
        ];
        let used = file("h.compiled", KEPT * 2);
        mark_used(&used);
        assert_eq!(used_since(folder.path(), now).len(), 2);
        assert_eq!(prune(folder.path(), now).unwrap(), old.len());
        assert!(old.iter().all(|path| !path.exists()));
        assert!(stays.iter().chain([&used]).all(|path| path.exists()));
    }

    #[test]
    fn what_was_loaded_after_the_start_stays_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, begun) = (folder.path().join("late.compiled"), SystemTime::now());
        File::create(&path).unwrap();
        let (in_use, policy) = (FilesInUse::default(), Arc::new("a policy"));
        in_use.note(folder.path(), begun, &policy);
        let age =
            || File::options().append(true).open(&path).unwrap().set_modified(begun - 2 * KEPT).unwrap();
        age();
        assert_eq!(prune_unused(folder.path(), &[], &in_use).unwrap(), 0);
        assert!(path.exists());
        drop(policy);
        age();
        assert_eq!(prune_unused(folder.path(), &[], &in_use).unwrap(), 1);
        assert!(!path.exists());
    }
}
