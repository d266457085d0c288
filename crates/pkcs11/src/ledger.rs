//! Which PINs were refused, so that none is tried twice: not in this process, not after a restart.
//!
//! A PIN is entered here before it is tried, and taken out when the token accepts it. One whose try never ended, because
//! the module hung or crashed, is tried again a few times unless the token says that a wrong PIN was tried. What is written is Argon2id of the PIN with the token's serial number, since PINs are short.

use crate::module::TokenInfo;
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_secret::Secret;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file of one HSM's refused PINs.
#[derive(Clone, Debug)]
pub struct PinLedger {
    path: PathBuf,
}

/// Why a PIN isn't tried.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file can't be read or written.
    #[error("{path}: {source}; without it a PIN can't be tried only once, so none is")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Argon2 failed.
    #[error("the PIN can't be hashed: {0}")]
    Hash(String),
    /// A login elsewhere doesn't end.
    #[error("another process is logging in to this token; its login must end before another begins")]
    Underway,
}

/// Held while a PIN is judged and tried.
#[derive(Debug)]
pub struct Trial {
    // Locked; the lock ends with it, and with the process.
    _file: File,
}

/// A PIN that was or is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    salt: [u8; SALT_LEN],
    hash: [u8; HASH_LEN],
    is_refused: bool,
}

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
const ENTRIES: usize = 32;
/// So many tries of a PIN may end without the token's word.
const UNJUDGED: usize = 3;
/// For another process's login to end.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

impl PinLedger {
    /// The ledger at `path`, which needn't exist.
    pub fn new(path: impl Into<PathBuf>) -> PinLedger {
        PinLedger { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else tries a PIN: an entry whose try is under way would look like a refused PIN.
    pub fn begin(&self) -> Result<Trial, LedgerError> {
        let file = self.lock_file("trial")?;
        let end = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Trial { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(LedgerError::Underway),
                Err(TryLockError::Error(error)) => return Err(self.failed()(error)),
            }
        }
    }

    fn lock_file(&self, extension: &str) -> Result<File, LedgerError> {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".");
        path.push(extension);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        file.map_err(self.failed())
    }

    /// Whether this token never refused this PIN. Tries that never ended count against it where the token says that a
    /// wrong PIN was tried, and when there were several.
    pub fn may_try(&self, token: &TokenInfo, pin: &Secret) -> Result<bool, LedgerError> {
        let mut unjudged = 0;
        for entry in self.read()? {
            if hash(token, pin, &entry.salt)? == entry.hash {
                if entry.is_refused {
                    return Ok(false);
                }
                unjudged += 1;
            }
        }
        Ok(unjudged == 0 || (unjudged < UNJUDGED && !token.is_pin_count_low()))
    }

    /// Enters a PIN, before it is tried.
    pub fn enter(&self, token: &TokenInfo, pin: &Secret) -> Result<Entry, LedgerError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|error| LedgerError::Hash(error.to_string()))?;
        let entry = Entry { salt, hash: hash(token, pin, &salt)?, is_refused: false };
        self.change(|entries| {
            entries.push(entry);
            let excess = entries.len().saturating_sub(ENTRIES);
            entries.drain(..excess);
        })?;
        Ok(entry)
    }

    /// The token refused it.
    pub fn refuse(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| {
            entries.iter_mut().filter(|other| *other == entry).for_each(|entry| entry.is_refused = true);
        })
    }

    /// The token accepted it; tries that never ended are forgotten too.
    pub fn accept(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| entries.retain(|other| other.is_refused && other != entry))
    }

    /// The token didn't judge it.
    pub fn withdraw(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| entries.retain(|other| other != entry))
    }

    /// One process at a time: an operator's command may run beside the proxy.
    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), LedgerError> {
        let lock = self.lock_file("lock")?;
        lock.lock().map_err(self.failed())?;
        let mut entries = self.read()?;
        change(&mut entries);
        self.write(&entries)
    }

    fn failed(&self) -> impl Fn(io::Error) -> LedgerError + '_ {
        |source| LedgerError::File { path: self.path.clone(), source }
    }

    /// One line an entry: salt and hash in hexadecimal, and `refused` if the token said so.
    fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.failed()(error)),
        };
        let entry = |line: &str| {
            let (line, is_refused) = line.strip_suffix(" refused").map_or((line, false), |line| (line, true));
            let (salt, hash) = line.split_once(' ')?;
            Some(Entry { salt: unhex(salt)?, hash: unhex(hash)?, is_refused })
        };
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, "a line is damaged; delete the file to try again");
        text.lines()
            .map(|line| entry(line).ok_or_else(damaged))
            .collect::<Result<_, _>>()
            .map_err(self.failed())
    }

    fn write(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let line = |entry: &Entry| {
            let refused = if entry.is_refused { " refused" } else { "" };
            format!("{} {}{refused}\n", hex(&entry.salt), hex(&entry.hash))
        };
        let text: String = entries.iter().map(line).collect();
        replace(&self.path, text.as_bytes()).map_err(self.failed())
    }
}

/// Replaces a file's content at once, and durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Argon2id with 19 MiB and 2 passes.
fn hash(token: &TokenInfo, pin: &Secret, salt: &[u8; SALT_LEN]) -> Result<[u8; HASH_LEN], LedgerError> {
    let failed = |error: argon2::Error| LedgerError::Hash(error.to_string());
    let params = Params::new(19 * 1024, 2, 1, Some(HASH_LEN)).map_err(failed)?;
    let salt = [salt.as_slice(), token.serial.as_bytes()].concat();
    let mut out = [0; HASH_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(pin.expose(), &salt, &mut out).map_err(failed)?;
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(serial: &str) -> TokenInfo {
        TokenInfo { serial: serial.into(), ..TokenInfo::default() }
    }

    #[test]
    fn a_refused_pin_is_known_after_a_restart_and_only_for_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins");
        let (wrong, right) = (Secret::copy_from(b"1111"), Secret::copy_from(b"2222"));
        let before = PinLedger::new(&path);
        before.refuse(&before.enter(&token("A"), &wrong).unwrap()).unwrap();
        let again = PinLedger::new(&path);
        assert!(!again.may_try(&token("A"), &wrong).unwrap());
        assert!(again.may_try(&token("A"), &right).unwrap());
        assert!(again.may_try(&token("B"), &wrong).unwrap());
        // Another's success changes nothing.
        again.accept(&again.enter(&token("A"), &right).unwrap()).unwrap();
        assert!(!again.may_try(&token("A"), &wrong).unwrap());
        assert!(!fs::read_to_string(&path).unwrap().contains("1111"));
    }

    #[test]
    fn a_login_waits_for_another_that_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::new(folder.path().join("pins"));
        let pin = Secret::copy_from(b"2222");
        let trial = ledger.begin().unwrap();
        let entry = ledger.enter(&token("A"), &pin).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _trial = ledger.begin().unwrap();
                std::fs::read(ledger.path()).unwrap()
            });
            // Whether it waits already or not yet: it must not see the entry.
            ledger.withdraw(&entry).unwrap();
            drop(trial);
            assert_eq!(other.join().unwrap(), b"");
        });
    }

    #[test]
    fn an_accepted_pin_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::new(folder.path().join("pins"));
        let pin = Secret::copy_from(b"2222");
        let entry = ledger.enter(&token("A"), &pin).unwrap();
        ledger.accept(&entry).unwrap();
        assert!(ledger.may_try(&token("A"), &pin).unwrap());
        assert_eq!(fs::read(ledger.path()).unwrap(), b"");
    }

    #[test]
    fn a_try_that_never_ended_is_repeated_a_few_times_unless_the_token_saw_a_wrong_pin() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::new(folder.path().join("pins"));
        let pin = Secret::copy_from(b"2222");
        let warns = TokenInfo { flags: cryptoki_sys::CKF_USER_PIN_COUNT_LOW, ..token("A") };
        for _ in 0..UNJUDGED {
            assert!(ledger.may_try(&token("A"), &pin).unwrap());
            ledger.enter(&token("A"), &pin).unwrap();
            assert!(!ledger.may_try(&warns, &pin).unwrap());
        }
        assert!(!ledger.may_try(&token("A"), &pin).unwrap());
    }

    #[test]
    fn a_damaged_ledger_lets_no_pin_be_tried() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::new(folder.path().join("pins"));
        fs::write(ledger.path(), "what").unwrap();
        assert!(ledger.may_try(&token("A"), &Secret::copy_from(b"1")).is_err());
    }
}
