//! The permission to do one operation with one key on the signed inputs.

use zeroize::Zeroizing;

use crate::aead::{METADATA_LIMIT, cdiv, frame_aad};
use crate::backend::{Made, Sealed, Verified};
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
    /// The result, with the CDIV where it is asked for. The specification (Appendix C) wants the CDIV computed before the
    /// decryption that verifies the ciphertext, so that a bit that flips in between is found. The decryption is over by now:
    /// the digest that began before it says that nothing is other than it was then, and that the plaintext is the signed one.
    pub fn done(self, made: Made, trace: &mut Trace) -> Result<Encrypted, Refusal> {
        let EncryptInputs { plaintext, aad, with_cdiv } = self.inputs;
        let Made { sealed: Sealed { ciphertext, iv, tag, metadata }, verified } = made;
        let fits = ciphertext.len() == plaintext.len()
            && matches!(iv.len(), 12 | 16)
            && tag.len() == 16
            && metadata.len() <= METADATA_LIMIT;
        if !fits {
            return Err(Refusal::new(ErrorName::Internal, "the key manager's result has wrong lengths"));
        }
        let cdiv = with_cdiv.then(|| cdiv(&aad, &metadata, &iv, &ciphertext, &tag));
        if with_cdiv {
            let framed = frame_aad(&aad, &metadata)?;
            let now = Verified::before(&framed, &iv, &ciphertext, &tag).after(&plaintext);
            if verified != Some(now) {
                return Err(Refusal::new(
                    ErrorName::Internal,
                    "the encryption isn't the one that was verified; memory may be faulty",
                ));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypting(with_cdiv: bool) -> Encrypting {
        let plaintext = Zeroizing::new(b"text".to_vec());
        Encrypting {
            key_id: "demo".into(),
            inputs: EncryptInputs { plaintext, aad: b"aad".to_vec(), with_cdiv },
        }
    }

    fn made(verified: Option<[u8; 32]>) -> Made {
        let sealed =
            Sealed { ciphertext: vec![1; 4], iv: vec![2; 12], tag: vec![3; 16], metadata: vec![4; 5] };
        Made { sealed, verified }
    }

    #[test]
    fn a_cdiv_is_given_only_for_what_was_verified_and_is_still_the_same() {
        let trace = &mut Trace::new(0);
        let framed = frame_aad(b"aad", &[4; 5]).unwrap_or_default();
        let of = Verified::before(&framed, &[2; 12], &[1; 4], &[3; 16]).after(b"text");
        let done = encrypting(true).done(made(Some(of)), trace).ok().and_then(|encrypted| encrypted.cdiv);
        assert_eq!(done, Some(cdiv(b"aad", &[4; 5], &[2; 12], &[1; 4], &[3; 16])));
        let name = |result: Result<Encrypted, Refusal>| result.map(|_| ()).map_err(|refusal| refusal.name);
        assert_eq!(name(encrypting(true).done(made(None), trace)), Err(ErrorName::Internal));
        for flipped in ["ciphertext", "iv", "tag", "metadata", "aad", "plaintext"] {
            let (mut encrypting, mut made) = (encrypting(true), made(Some(of)));
            let Sealed { ciphertext, iv, tag, metadata } = &mut made.sealed;
            match flipped {
                "ciphertext" => ciphertext[0] ^= 1,
                "iv" => iv[0] ^= 1,
                "tag" => tag[0] ^= 1,
                "metadata" => metadata[0] ^= 1,
                "aad" => encrypting.inputs.aad[0] ^= 1,
                _ => encrypting.inputs.plaintext[0] ^= 1,
            }
            assert_eq!(name(encrypting.done(made, trace)), Err(ErrorName::Internal), "{flipped}");
        }
        assert!(encrypting(false).done(made(None), trace).is_ok_and(|encrypted| encrypted.cdiv.is_none()));
    }

    #[test]
    fn a_result_of_wrong_lengths_is_not_given_out() {
        for wrong in ["ciphertext", "iv", "tag", "metadata"] {
            let mut made = made(None);
            let Sealed { ciphertext, iv, tag, metadata } = &mut made.sealed;
            match wrong {
                "ciphertext" => ciphertext.push(0),
                "iv" => iv.push(0),
                "tag" => tag.push(0),
                _ => metadata.resize(METADATA_LIMIT + 1, 0),
            }
            assert!(encrypting(false).done(made, &mut Trace::new(0)).is_err(), "{wrong}");
        }
    }
}
