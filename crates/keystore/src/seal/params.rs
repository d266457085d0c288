//! The kinds of seals, and what a file says of its own.

use std::fmt;

use super::hsm::HsmKeyError;
use crate::random::RandomError;

pub(super) const SALT_LEN: usize = 16;
const PASSPHRASE_PARAMS_LEN: usize = SALT_LEN + 3 * 4;

/// The kinds of seals, by their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SealKind {
    /// Argon2id (RFC 9106) of a passphrase.
    Passphrase = 1,
    /// 32 bytes in a file.
    KeyFile = 2,
    /// The same 32 bytes, handed over by systemd in `$CREDENTIALS_DIRECTORY`.
    SystemdCredential = 3,
    /// 32 random bytes, wrapped by a key in an HSM.
    Hsm = 4,
}

impl fmt::Display for SealKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealKind::Passphrase => "passphrase",
            SealKind::KeyFile => "key-file",
            SealKind::SystemdCredential => "systemd-credential",
            SealKind::Hsm => "hsm",
        })
    }
}

/// Why a seal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nothing to derive a key from.
    #[error("an empty passphrase seals nothing")]
    EmptyPassphrase,
    /// Argon2id isn't given such parameters here.
    #[error(
        "Argon2id with {0}; it takes 8 KiB per lane to 1 GiB of memory, 1 to 16 lanes, and at most 4 GiB of memory \
         times passes"
    )]
    Cost(PassphraseCost),
    /// Neither raw nor hexadecimal.
    #[error(
        "a key file of {0} bytes; it holds 32 random bytes, either as they are or as 64 hexadecimal digits"
    )]
    KeyFile(usize),
    /// The wrong kind was given.
    #[error("the keystore is sealed by a {sealed_by}, but a {given} was given")]
    OtherKind {
        /// What the file says.
        sealed_by: SealKind,
        /// What the caller has.
        given: SealKind,
    },
    /// The HSM's key doesn't wrap or unwrap.
    #[error(transparent)]
    Hsm(#[from] HsmKeyError),
    /// Argon2id failed.
    #[error("Argon2id failed: {0}; is there enough memory?")]
    Argon2(argon2::Error),
    /// No salt could be made.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What deriving a key from a passphrase costs: the parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106, section 4.
    pub const RECOMMENDED: PassphraseCost = PassphraseCost { memory: 64 * 1024, passes: 3, lanes: 4 };

    /// Bounded, because the parameters of a file are used before anything of it is authenticated.
    pub(super) fn check(self) -> Result<PassphraseCost, SealError> {
        let PassphraseCost { memory, passes, lanes } = self;
        let fits = (1..=16).contains(&lanes)
            && (8 * lanes..=1 << 20).contains(&memory)
            && passes >= 1
            && u64::from(memory) * u64::from(passes) <= 1 << 22;
        if fits { Ok(self) } else { Err(SealError::Cost(self)) }
    }
}

impl fmt::Display for PassphraseCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PassphraseCost { memory, passes, lanes } = self;
        write!(f, "{memory} KiB of memory, {passes} passes, {lanes} lanes")
    }
}

/// What a file says about its seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealParams {
    /// What Argon2id needs besides the passphrase.
    Passphrase {
        /// Random.
        salt: [u8; SALT_LEN],
        /// Chosen when it was sealed.
        cost: PassphraseCost,
    },
    /// Nothing more.
    KeyFile,
    /// Nothing more.
    SystemdCredential,
    /// What the HSM's key needs to unwrap the root. Its form is the caller's.
    Hsm(Vec<u8>),
}

impl SealParams {
    /// The kind.
    pub fn kind(&self) -> SealKind {
        match self {
            SealParams::Passphrase { .. } => SealKind::Passphrase,
            SealParams::KeyFile => SealKind::KeyFile,
            SealParams::SystemdCredential => SealKind::SystemdCredential,
            SealParams::Hsm(_) => SealKind::Hsm,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            SealParams::Passphrase { salt, cost: PassphraseCost { memory, passes, lanes } } => {
                let numbers = [memory, passes, lanes].map(|number| number.to_be_bytes()).concat();
                [salt.as_slice(), &numbers].concat()
            }
            SealParams::KeyFile | SealParams::SystemdCredential => Vec::new(),
            SealParams::Hsm(bytes) => bytes.clone(),
        }
    }

    /// None for an unknown kind, or parameters that aren't of the kind's length.
    pub(crate) fn decode(kind: u8, bytes: &[u8]) -> Option<SealParams> {
        match (kind, bytes.len()) {
            (1, PASSPHRASE_PARAMS_LEN) => {
                let (salt, rest) = bytes.split_first_chunk()?;
                let (memory, rest) = rest.split_first_chunk()?;
                let (passes, rest) = rest.split_first_chunk()?;
                let lanes = rest.try_into().ok()?;
                let [memory, passes, lanes] = [*memory, *passes, lanes].map(u32::from_be_bytes);
                Some(SealParams::Passphrase { salt: *salt, cost: PassphraseCost { memory, passes, lanes } })
            }
            (2, 0) => Some(SealParams::KeyFile),
            (3, 0) => Some(SealParams::SystemdCredential),
            (4, _) => Some(SealParams::Hsm(bytes.to_vec())),
            _ => None,
        }
    }
}
