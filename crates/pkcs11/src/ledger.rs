//! Which PINs were refused, so that none is tried twice: not in this process, not after a restart.
//!
//! A PIN is entered here before it is tried and taken out when the token accepts it, so a kill in between counts as a
//! failed try; only a host that saw the token accept this PIN before tries it again then. What is written is Argon2id of
//! the PIN with what the token says it is, since PINs are short.
//!
//! A ledger is a token's and not a setting's: whatever an operator calls an HSM, however it is found and whichever process
//! logs in, a token's PIN is tried once.

use crate::module::TokenInfo;
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_secret::Secret;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Whether a PIN may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Now, and by nobody else meanwhile.
    Try(Entry),
    /// Never: the token refused it.
    Refused,
    /// No: a try of it was cut short.
    Unended,
}

/// The file of one token's refused PINs.
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
    refused: bool,
}

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
const ENTRIES: usize = 32;
const REFUSED: &str = " refused";
/// For how long another process is waited for that changes a file. It writes a few lines; one that hangs must not hold up
/// health checks.
const LOCK_TIME: Duration = Duration::from_secs(2);
/// For another process's login to end.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

impl PinLedger {
    /// A token's ledger in `folder`, which has those of all tokens that this user logs in to. It needn't exist.
    pub fn of(token: &TokenInfo, folder: &Path) -> PinLedger {
        let digest = Sha256::digest(token.identity());
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        // The label is for whoever looks into the folder.
        let label: String =
            token.label.bytes().map(|byte| if safe(byte) { char::from(byte) } else { '_' }).collect();
        PinLedger { path: folder.join(format!("pin-{label}-{}", hex(&digest[..16]))) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else tries a PIN: an entry whose try is under way would look like one that was cut short.
    pub fn begin(&self) -> Result<Trial, LedgerError> {
        match lock_beside(&self.path, ".trial", PATIENCE) {
            Ok(file) => Ok(Trial { _file: file }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(LedgerError::Underway),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Enters a PIN that is about to be tried, unless it was before. `proven`: this token accepted it before, so that a try
    /// that was cut short says nothing against it. Looks and enters in one step, so that of several processes one tries.
    pub fn enter(&self, token: &TokenInfo, pin: &Secret, proven: bool) -> Result<Standing, LedgerError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|error| LedgerError::Hash(error.to_string()))?;
        let entry = Entry { salt, hash: hash(token, pin, &salt)?, refused: false };
        self.change(|entries| {
            let mut known = None;
            for (index, entry) in entries.iter().enumerate() {
                if hash(token, pin, &entry.salt)? != entry.hash {
                } else if entry.refused {
                    return Ok(Standing::Refused);
                } else {
                    known = Some(index);
                }
            }
            match known {
                Some(_) if !proven => return Ok(Standing::Unended),
                Some(index) => drop(entries.remove(index)),
                None => {}
            }
            entries.push(entry);
            let excess = entries.len().saturating_sub(ENTRIES);
            entries.drain(..excess);
            Ok(Standing::Try(entry))
        })
    }

    /// The token refused it.
    pub fn refuse(&self, entry: &Entry) -> Result<(), LedgerError> {
        let same = |other: &&mut Entry| other.salt == entry.salt;
        self.change(|entries| {
            entries.iter_mut().filter(same).for_each(|entry| entry.refused = true);
            Ok(())
        })
    }

    /// Takes an entry out: the token accepted the PIN, or didn't judge it.
    pub fn withdraw(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| {
            entries.retain(|other| other.salt != entry.salt);
            Ok(())
        })
    }

    /// One process at a time: an operator's command may run beside the proxy.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let _lock = lock(&self.path).map_err(self.failed())?;
        let before = self.read()?;
        let mut entries = before.clone();
        let result = change(&mut entries)?;
        if entries != before {
            self.write(&entries)?;
        }
        Ok(result)
    }

    fn failed(&self) -> impl Fn(io::Error) -> LedgerError + '_ {
        |source| LedgerError::File { path: self.path.clone(), source }
    }

    /// One line an entry: salt and hash in hexadecimal, and a mark where the token refused it.
    fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.failed()(error)),
        };
        let entry = |line: &str| {
            let (line, refused) = line.strip_suffix(REFUSED).map_or((line, false), |line| (line, true));
            let (salt, hash) = line.split_once(' ')?;
            Some(Entry { salt: unhex(salt)?, hash: unhex(hash)?, refused })
        };
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, "a line is damaged; delete the file to try again");
        text.lines()
            .map(|line| entry(line).ok_or_else(damaged))
            .collect::<Result<_, _>>()
            .map_err(self.failed())
    }

    fn write(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let mark = |entry: &Entry| if entry.refused { REFUSED } else { "" };
        let line = |entry: &Entry| format!("{} {}{}\n", hex(&entry.salt), hex(&entry.hash), mark(entry));
        let text: String = entries.iter().map(line).collect();
        replace(&self.path, text.as_bytes()).map_err(self.failed())
    }
}

/// Keeps other processes from changing a file, until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    lock_beside(path, ".lock", LOCK_TIME)
}

/// Locks a file beside another, which stays. Fails with `TimedOut` where another process keeps it locked.
fn lock_beside(path: &Path, ending: &str, patience: Duration) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside)?;
    let end = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
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
    let salt = [salt.as_slice(), &token.identity()].concat();
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

    fn enter(ledger: &PinLedger, serial: &str, pin: &[u8]) -> Standing {
        ledger.enter(&token(serial), &Secret::copy_from(pin), false).unwrap()
    }

    #[test]
    fn a_refused_pin_is_known_after_a_restart_and_only_for_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::of(&token("A"), folder.path());
        let Standing::Try(entry) = enter(&ledger, "A", b"1111") else { panic!("it wasn't tried") };
        ledger.refuse(&entry).unwrap();
        let again = PinLedger::of(&token("A"), folder.path());
        assert_eq!(enter(&again, "A", b"1111"), Standing::Refused);
        assert!(matches!(enter(&again, "A", b"2222"), Standing::Try(_)));
        assert!(matches!(enter(&again, "B", b"1111"), Standing::Try(_)));
        assert!(!fs::read_to_string(ledger.path()).unwrap().contains("1111"));
    }

    #[test]
    fn each_token_has_a_ledger_of_its_own_by_all_that_it_says_it_is() {
        let folder = Path::new("/pins");
        let info = |manufacturer: &str, model: &str, serial: &str, label: &str| TokenInfo {
            manufacturer: manufacturer.into(),
            model: model.into(),
            serial: serial.into(),
            label: label.into(),
            ..TokenInfo::default()
        };
        let tokens = [
            info("maker", "model", "1", "label"),
            info("other", "model", "1", "label"),
            info("maker", "other", "1", "label"),
            info("maker", "model", "2", "label"),
            info("maker", "model", "1", "other"),
            info("makerm", "odel", "1", "label"),
            info("maker", "model", "1", "../label"),
        ];
        let paths: Vec<_> = tokens.iter().map(|token| PinLedger::of(token, folder).path).collect();
        for (index, path) in paths.iter().enumerate() {
            assert!(!paths[..index].contains(path), "{path:?}");
            assert_eq!(path.parent(), Some(folder));
        }
        let updated = TokenInfo { firmware: "2.0".into(), flags: 7, ..tokens[0].clone() };
        assert_eq!(PinLedger::of(&updated, folder).path, paths[0]);
    }

    #[test]
    fn a_login_waits_for_another_that_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::of(&token("A"), folder.path());
        let trial = ledger.begin().unwrap();
        let Standing::Try(entry) = enter(&ledger, "A", b"2222") else { panic!("it wasn't tried") };
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _trial = ledger.begin().unwrap();
                enter(&ledger, "A", b"2222")
            });
            // Whether it waits already or not yet: it must not see the entry.
            ledger.withdraw(&entry).unwrap();
            drop(trial);
            assert!(matches!(other.join().unwrap(), Standing::Try(_)));
        });
    }

    #[test]
    fn an_accepted_pin_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::of(&token("A"), folder.path());
        let Standing::Try(entry) = enter(&ledger, "A", b"2222") else { panic!("it wasn't tried") };
        ledger.withdraw(&entry).unwrap();
        assert_eq!(fs::read(ledger.path()).unwrap(), b"");
        assert!(matches!(enter(&ledger, "A", b"2222"), Standing::Try(_)));
    }

    #[test]
    fn a_try_that_was_cut_short_is_repeated_only_where_the_token_accepted_the_pin_before() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::of(&token("A"), folder.path());
        assert!(matches!(enter(&ledger, "A", b"1111"), Standing::Try(_)));
        assert_eq!(enter(&ledger, "A", b"1111"), Standing::Unended);
        let pin = Secret::copy_from(b"1111");
        let Standing::Try(entry) = ledger.enter(&token("A"), &pin, true).unwrap() else {
            panic!("not tried")
        };
        ledger.refuse(&entry).unwrap();
        assert_eq!(ledger.enter(&token("A"), &pin, true).unwrap(), Standing::Refused);
    }

    #[test]
    fn of_several_processes_one_tries() {
        let folder = tempfile::tempdir().unwrap();
        let tries = thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| enter(&PinLedger::of(&token("A"), folder.path()), "A", b"1111")))
                .collect();
            tries.into_iter().map(|it| it.join().unwrap()).filter(|it| matches!(it, Standing::Try(_))).count()
        });
        assert_eq!(tries, 1);
    }

    #[test]
    fn a_damaged_ledger_lets_no_pin_be_tried() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = PinLedger::of(&token("A"), folder.path());
        fs::write(ledger.path(), "what").unwrap();
        assert!(ledger.enter(&token("A"), &Secret::copy_from(b"1"), true).is_err());
    }
}
