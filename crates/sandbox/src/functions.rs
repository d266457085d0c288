//! A component's compiled functions by their content, kept on disk: another document changes a snapshot's data and none of
//! its functions, so these needn't be compiled again.
//!
//! The same rules hold as for compiled components (see `sandbox::CompiledCache`): the folder belongs to this user and is
//! closed to others, and only what was compiled here is ever written into it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use wasmtime::CacheStore;

/// Part of every file, so that another version of this program doesn't read it.
const FORMAT: &[u8] = concat!("holdfast-functions-1-", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// SHA-256 of the function and of all settings that it is compiled with; Cranelift's.
type Key = [u8; 32];

/// The functions of one component. In memory only while it is compiled.
#[derive(Debug)]
pub struct CompiledFunctions {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether `kept` holds what the file has.
    read: bool,
    kept: HashMap<Key, Vec<u8>>,
    /// What this compilation took of it.
    used: HashMap<Key, Vec<u8>>,
    new: bool,
}

impl CompiledFunctions {
    /// Those of the component with this digest, in a private folder.
    pub fn of(component: &str, folder: &Path) -> CompiledFunctions {
        let path = folder.join(format!("{component}.functions"));
        CompiledFunctions { path, state: Mutex::default() }
    }

    /// Writes the functions of the compilation that is over, if any of them is new, and forgets them.
    pub fn keep(&self) {
        let state = std::mem::take(&mut *self.lock());
        if state.used.is_empty() {
            return;
        }
        if !state.new {
            crate::prune::mark_used(&self.path);
            return;
        }
        if let Err(error) = write(&self.path, &state.used) {
            tracing::warn!(%error, path = %self.path.display(), "can't keep compiled functions; staging stays slow");
        }
    }

    /// Nothing under the lock can panic halfway through a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with what is kept in it: read only where something is compiled.
    fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if !state.read {
            state.read = true;
            // What is missing or damaged is compiled.
            state.kept = read(&self.path).unwrap_or_default();
        }
        state
    }
}

impl CacheStore for CompiledFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = Key::try_from(key).ok()?;
        let mut state = self.read();
        if let Some(function) = state.used.get(&key) {
            return Some(Cow::Owned(function.clone()));
        }
        let function = state.kept.remove(&key)?;
        state.used.insert(key, function.clone());
        Some(Cow::Owned(function))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = Key::try_from(key) else { return false };
        let mut state = self.lock();
        state.new = true;
        state.used.insert(key, value);
        true
    }
}

fn read(path: &Path) -> Option<HashMap<Key, Vec<u8>>> {
    let content = fs::read(path).ok()?;
    let (sum, rest) = content.split_at_checked(32)?;
    if Sha256::digest(rest).as_slice() != sum {
        tracing::warn!(path = %path.display(), "kept compiled functions are damaged; compiling again");
        return None;
    }
    let mut rest = rest.strip_prefix(FORMAT)?;
    let mut functions = HashMap::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (function, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        functions.insert(*key, function.to_vec());
        rest = after;
    }
    Some(functions)
}

/// A crash leaves either all of it or nothing that counts.
fn write(path: &Path, functions: &HashMap<Key, Vec<u8>>) -> io::Result<()> {
    let mut content = FORMAT.to_vec();
    for (key, function) in functions {
        content.extend_from_slice(key);
        content.extend_from_slice(&u32::try_from(function.len()).map_err(io::Error::other)?.to_le_bytes());
        content.extend_from_slice(function);
    }
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(Sha256::digest(&content).as_slice())?;
    file.write_all(&content)?;
    fs::rename(&temporary, path)
}

/// What a file has, by hash.
pub fn kept_functions(path: &Path) -> std::collections::BTreeSet<Key> {
    read(path).unwrap_or_default().into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [Key; 3] = [[1; 32], [2; 32], [3; 32]];

    fn get(functions: &CompiledFunctions, key: Key) -> Option<Vec<u8>> {
        functions.get(&key).map(Cow::into_owned)
    }

    #[test]
    fn what_the_last_compilation_used_is_there_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let first = CompiledFunctions::of("component", folder.path());
        assert_eq!(get(&first, KEYS[0]), None);
        assert!(first.insert(&KEYS[0], b"one".to_vec()) && first.insert(&KEYS[1], b"two".to_vec()));
        first.keep();
        let second = CompiledFunctions::of("component", folder.path());
        assert_eq!(get(&second, KEYS[0]).as_deref(), Some(&b"one"[..]));
        assert!(second.insert(&KEYS[2], b"three".to_vec()));
        second.keep();
        let third = CompiledFunctions::of("component", folder.path());
        let there = KEYS.map(|key| get(&third, key));
        assert_eq!(there, [Some(b"one".to_vec()), None, Some(b"three".to_vec())]);
        assert_eq!(get(&CompiledFunctions::of("another", folder.path()), KEYS[0]), None);
    }

    #[test]
    fn what_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let functions = CompiledFunctions::of("component", folder.path());
        functions.insert(&KEYS[0], b"one".to_vec());
        functions.keep();
        let whole = fs::read(&functions.path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&functions.path, damaged).unwrap();
            assert_eq!(get(&CompiledFunctions::of("component", folder.path()), KEYS[0]), None, "{at}");
            fs::write(&functions.path, &whole[..at]).unwrap();
            assert_eq!(get(&CompiledFunctions::of("component", folder.path()), KEYS[0]), None, "{at}");
        }
    }
}
