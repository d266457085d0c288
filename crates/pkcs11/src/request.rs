//! An operation on one HSM, and what comes of it.

use zeroize::Zeroizing;

/// An IV of 12 or 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Iv {
    bytes: [u8; 16],
    len: u8,
}

impl Iv {
    /// Zeros, to be written over. `len` is 12 or 16.
    pub(crate) fn zero(len: u8) -> Iv {
        Iv { bytes: [0; 16], len: len.min(16) }
    }

    /// None unless it has 12 or 16 bytes.
    pub fn from_slice(slice: &[u8]) -> Option<Iv> {
        let len = match slice.len() {
            12 => 12,
            16 => 16,
            _ => return None,
        };
        let mut bytes = [0; 16];
        bytes[..slice.len()].copy_from_slice(slice);
        Some(Iv { bytes, len })
    }

    /// 12 random bytes.
    pub fn random() -> Result<Iv, getrandom::Error> {
        let mut iv = Iv::zero(12);
        getrandom::fill(iv.bytes_mut())?;
        Ok(iv)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.bytes().iter().all(|byte| *byte == 0)
    }
}

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Plaintext to ciphertext and tag.
    Encrypt,
    /// The same, decrypted again and compared by the worker that encrypted.
    EncryptVerified,
    /// Ciphertext and tag to plaintext.
    Decrypt,
    /// The AES-256 keys on the token, encoded by `wire`.
    List,
}

impl Operation {
    /// Whether it uses a key for an encryption.
    pub(crate) fn encrypts(self) -> bool {
        matches!(self, Operation::Encrypt | Operation::EncryptVerified)
    }
}

/// An operation with one version of a key.
pub struct Work {
    /// Which.
    pub operation: Operation,
    /// The version's label on the token.
    pub label: std::sync::Arc<str>,
    /// The key's CKA_CHECK_VALUE, as it was when the version was found; empty where none is known.
    pub check_value: std::sync::Arc<[u8]>,
    /// The IV; where the HSM makes it, it comes back in the [`Answer`].
    pub iv: Iv,
    /// The framed additional authenticated data.
    pub aad: std::sync::Arc<[u8]>,
    /// The plaintext, or ciphertext and tag one after the other.
    pub data: std::sync::Arc<Zeroizing<Vec<u8>>>,
}

/// What an operation made.
pub struct Answer {
    /// The IV that was used.
    pub iv: Iv,
    /// Ciphertext and tag one after the other, or the plaintext.
    pub data: Zeroizing<Vec<u8>>,
    /// SHA-256 over AAD, IV, ciphertext and tag before they were decrypted again, and what that gave
    /// ([`Operation::EncryptVerified`]).
    pub verified: Option<[u8; 32]>,
    /// What failed before, where it was mended and the operation was tried a second time.
    pub repaired: Option<crate::rv::CallError>,
}
