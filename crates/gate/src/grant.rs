//! The permission to do one operation with one key on the signed inputs.

use zeroize::Zeroizing;

use crate::aead::{METADATA_LIMIT, cdiv, frame_aad};
use crate::backend::Sealed;
use crate::body::{DecryptInputs, EncryptInputs, Inputs};
use crate::query::Operation;
use crate::refusals::differs;
use crate::reply::{Encrypted, KeyMetadata, Outcome};
use crate::trace::Trace;
use crate::{ErrorName, Refusal};

/// Made only by [`crate::admission::Asked::decided`]; every operation consumes it.
pub struct Grant {
    operation: Operation,
    key_id: String,
    inputs: Inputs,
}

/// A granted GetKeyMetadata.
pub struct Describing {
    /// Of which key.
    pub key_id: String,
}

/// A granted Encrypt.
pub struct Encrypting {
    /// With which key.
    pub key_id: String,
    /// As they were signed.
    pub inputs: EncryptInputs,
}

/// An encryption that was done, to be verified where a CDIV was asked for.
pub struct Verifying {
    /// With which key.
    pub key_id: String,
    /// What was encrypted.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// What came of it.
    pub made: Sealed,
    /// The AAD to verify with; `None` where nothing is to be verified.
    pub framed_aad: Option<Vec<u8>>,
    cdiv: Option<[u8; 32]>,
}

/// A granted Decrypt.
pub struct Decrypting {
    /// With which key.
    pub key_id: String,
    /// As they were signed.
    pub inputs: DecryptInputs,
}

impl Grant {
    pub(crate) fn new(operation: Operation, key_id: String, inputs: Inputs) -> Grant {
        Grant { operation, key_id, inputs }
    }

    /// For GetKeyMetadata.
    pub fn describe(self) -> Result<Describing, Refusal> {
        match self.operation {
            Operation::GetKeyMetadata => Ok(Describing { key_id: self.key_id }),
            Operation::Encrypt | Operation::Decrypt => Err(differs("operation")),
        }
    }

    /// For Encrypt, on the signed inputs; `claimed` must be the same.
    pub fn encrypt(self, claimed: &EncryptInputs) -> Result<Encrypting, Refusal> {
        match (self.operation, self.inputs) {
            (Operation::Encrypt, Inputs::Encrypt(inputs)) if inputs == *claimed => {
                Ok(Encrypting { key_id: self.key_id, inputs })
            }
            (Operation::Encrypt, Inputs::Encrypt(_)) => Err(differs("inputs")),
            _ => Err(differs("operation")),
        }
    }

    /// For Decrypt, on the signed inputs; `claimed` must be the same.
    pub fn decrypt(self, claimed: &DecryptInputs) -> Result<Decrypting, Refusal> {
        match (self.operation, self.inputs) {
            (Operation::Decrypt, Inputs::Decrypt(inputs)) if inputs == *claimed => {
                Ok(Decrypting { key_id: self.key_id, inputs })
            }
            (Operation::Decrypt, Inputs::Decrypt(_)) => Err(differs("inputs")),
            _ => Err(differs("operation")),
        }
    }
}

impl Describing {
    /// The result.
    pub fn done(self, metadata: KeyMetadata, trace: &mut Trace) -> KeyMetadata {
        trace.outcome = Outcome::KeyMetadata(metadata.clone());
        metadata
    }
}

impl Encrypting {
    /// Computes the CDIV where it is asked for: before the verifying decryption, so that a bit that flips in between is
    /// found (spec, Appendix C).
    pub fn done(self, made: Sealed) -> Result<Verifying, Refusal> {
        let Encrypting { key_id, inputs } = self;
        let EncryptInputs { plaintext, aad, with_cdiv } = inputs;
        let cdiv = with_cdiv.then(|| cdiv(&aad, &made.metadata, &made.iv, &made.ciphertext, &made.tag));
        let framed_aad = if with_cdiv { Some(frame_aad(&aad, &made.metadata)?) } else { None };
        Ok(Verifying { key_id, plaintext, made, framed_aad, cdiv })
    }
}

impl Verifying {
    /// The result, once what is to be verified was.
    pub fn done(self, trace: &mut Trace) -> Result<Encrypted, Refusal> {
        let Verifying { plaintext, made, cdiv, .. } = self;
        let fits = made.ciphertext.len() == plaintext.len()
            && matches!(made.iv.len(), 12 | 16)
            && made.tag.len() == 16
            && made.metadata.len() <= METADATA_LIMIT;
        if !fits {
            return Err(Refusal::new(ErrorName::Internal, "the key manager's result has wrong lengths"));
        }
        let Sealed { ciphertext, iv, tag, metadata } = made;
        let encrypted = Encrypted { ciphertext, iv, tag, metadata, cdiv };
        trace.outcome = Outcome::Encrypted(encrypted.clone());
        Ok(encrypted)
    }
}

impl Decrypting {
    /// The result.
    pub fn done(self, plaintext: Zeroizing<Vec<u8>>, trace: &mut Trace) -> Zeroizing<Vec<u8>> {
        trace.outcome = Outcome::Plaintext(plaintext.clone());
        plaintext
    }
}
