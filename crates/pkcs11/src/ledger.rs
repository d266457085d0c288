//! Which PINs were refused, so that none is tried twice: not in this process, not after a restart.
//!
//! A PIN is entered here before it is tried, so that a kill in between is seen. It is then tried again where the token's flags
//! say that no try was lost, but for [`TRIES`] times at most, as some tokens don't tell; one that the token accepted before, as often
//! as it takes. What is written is Argon2id of the PIN with what the token says it is, since PINs are short; of one that was
//! accepted a single byte of that, which leads nobody to it.
//!
//! A ledger is a token's and not a setting's: whatever an operator calls an HSM, however it is found and whichever process
//! logs in, a token's PIN is tried once.

use crate::module::TokenInfo;
use crate::shared_file::{lock, lock_beside, replace};
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_secret::Secret;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    mark: Mark,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It is under way or was cut short, and is so many of them.
    Tried(u8),
    /// The same, of a PIN that was accepted before.
    TriedAgain,
    Refused,
    Accepted,
}

impl Entry {
    fn is_of(&self, hash: &[u8; HASH_LEN]) -> bool {
        match self.mark {
            Mark::Accepted => self.hash[0] == hash[0],
            _ => self.hash == *hash,
        }
    }

    fn accepted(self) -> Entry {
        let mut hash = [0; HASH_LEN];
        hash[0] = self.hash[0];
        Entry { hash, mark: Mark::Accepted, ..self }
    }
}

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
const ENTRIES: usize = 32;
/// How often a PIN is tried that no token accepted yet, if each try is cut short.
pub const TRIES: u8 = 3;
/// For another process's login to end.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// that was cut short says nothing against it. `unspent`: the token says that no try was lost. Looks and enters in one step, so
    /// that of several processes one tries.
    pub fn enter(
        &self,
        token: &TokenInfo,
        pin: &Secret,
        proven: bool,
        unspent: bool,
    ) -> Result<Standing, LedgerError> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt).map_err(|error| LedgerError::Hash(error.to_string()))?;
        let hashed = hash(token, pin, &salt)?;
        self.change(|entries| {
            let (mut others, mut tries, mut accepted) = (Vec::new(), 0, proven);
            for entry in entries.iter() {
                if !entry.is_of(&hash(token, pin, &entry.salt)?) {
                    others.push(*entry);
                    continue;
                }
                match entry.mark {
                    Mark::Refused => return Ok(Standing::Refused),
                    Mark::Tried(count) => tries = tries.max(count),
                    Mark::TriedAgain | Mark::Accepted => accepted = true,
                }
            }
            if tries > 0 && !accepted && (!unspent || tries >= TRIES) {
                return Ok(Standing::Unended);
            }
            let mark = if accepted { Mark::TriedAgain } else { Mark::Tried(tries + 1) };
            let entry = Entry { salt, hash: hashed, mark };
            *entries = others;
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
            entries.iter_mut().filter(same).for_each(|entry| entry.mark = Mark::Refused);
            Ok(())
        })
    }

    /// The token accepted it: that is remembered of this PIN, and of no other.
    pub fn accept(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| {
            entries.retain(|other| other.salt != entry.salt && other.mark != Mark::Accepted);
            entries.push(entry.accepted());
            Ok(())
        })
    }

    /// The token didn't judge the PIN: it is as before the try.
    pub fn withdraw(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|entries| {
            entries.retain(|other| other.salt != entry.salt);
            if entry.mark == Mark::TriedAgain {
                entries.push(entry.accepted());
            }
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

    /// One line an entry: salt and hash in hexadecimal, and what became of it.
    fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.failed()(error)),
        };
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let (salt, hash) = (unhex(words.next()?)?, unhex(words.next()?)?);
            let mark = match (words.next(), words.next()) {
                (None, _) => Mark::Tried(1),
                (Some("refused"), None) => Mark::Refused,
                (Some("accepted"), None) => Mark::Accepted,
                (Some("again"), None) => Mark::TriedAgain,
                (Some("tried"), Some(count)) => Mark::Tried(count.parse().ok()?),
                _ => return None,
            };
            Some(Entry { salt, hash, mark })
        };
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, "a line is damaged; delete the file to try again");
        text.lines()
            .map(|line| entry(line).ok_or_else(damaged))
            .collect::<Result<_, _>>()
            .map_err(self.failed())
    }

    fn write(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let mark = |entry: &Entry| match entry.mark {
            Mark::Tried(count) => format!(" tried {count}"),
            Mark::TriedAgain => " again".into(),
            Mark::Refused => " refused".into(),
            Mark::Accepted => " accepted".into(),
        };
        let line = |entry: &Entry| format!("{} {}{}\n", hex(&entry.salt), hex(&entry.hash), mark(entry));
        let text: String = entries.iter().map(line).collect();
        replace(&self.path, text.as_bytes()).map_err(self.failed())
    }
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
mod tests;
