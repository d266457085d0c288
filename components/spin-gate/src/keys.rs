//! Operations with the keys of the keystore, in the specification's terms.

use holdfast_gate::aead::{METADATA_LIMIT, cdiv, frame_aad};
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::reply::{Encrypted, KeyMetadata};
use holdfast_gate::{ErrorName, Refusal};
use holdfast_keystore::{Key, KeyError, Random, Status};
use zeroize::Zeroizing;

/// What serves, for health and audit records.
pub(crate) const MANAGER: &str = "keystore";

pub(crate) fn metadata(key: &Key) -> KeyMetadata {
    let usage = key.usage();
    let usages = [(usage.encrypt, "ENCRYPT"), (usage.decrypt, "DECRYPT")];
    KeyMetadata {
        key_spec: "AES_256".into(),
        key_usage: usages.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).into()).collect(),
        enabled: key.status() == Status::Enabled,
    }
}

pub(crate) fn encrypt<R: Random + ?Sized>(
    key: &Key,
    inputs: &EncryptInputs,
    random: &mut R,
) -> Result<Encrypted, Refusal> {
    // The frame is made inside, where the metadata is known; its length was checked with the body.
    let mut framed = Ok(Vec::new());
    let frame = |metadata: &[u8]| {
        framed = frame_aad(&inputs.aad, metadata);
        framed.clone().unwrap_or_default()
    };
    let made = key.encrypt(&inputs.plaintext, frame, random).map_err(refusal)?;
    let framed = framed?;
    // In this order: a bit that flips after the CDIV was computed is found by the decryption (spec, Appendix C).
    let value =
        inputs.with_cdiv.then(|| cdiv(&inputs.aad, &made.metadata, &made.iv, &made.ciphertext, &made.tag));
    if inputs.with_cdiv {
        // AWS's test client expects that a CDIV needs a key that decrypts.
        if !key.usage().decrypt {
            return Err(refusal(KeyError::Usage));
        }
        key.verify(&made, &framed, &inputs.plaintext).map_err(refusal)?;
    }
    if made.ciphertext.len() != inputs.plaintext.len() || made.metadata.len() > METADATA_LIMIT {
        return Err(Refusal::new(ErrorName::Internal, "the keystore's result has wrong lengths"));
    }
    Ok(Encrypted {
        ciphertext: made.ciphertext,
        iv: made.iv.to_vec(),
        tag: made.tag.to_vec(),
        metadata: made.metadata,
        cdiv: value,
    })
}

pub(crate) fn decrypt(key: &Key, inputs: &DecryptInputs) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let framed = frame_aad(&inputs.aad, &inputs.metadata)?;
    key.decrypt(&inputs.ciphertext, &inputs.iv, &inputs.tag, &inputs.metadata, &framed).map_err(refusal)
}

/// Whether the key encrypts and decrypts.
pub(crate) fn works<R: Random + ?Sized>(key: &Key, random: &mut R) -> bool {
    let plaintext = Zeroizing::new(b"holdfast health check".to_vec());
    let inputs = EncryptInputs { plaintext, aad: b"health".to_vec(), with_cdiv: false };
    encrypt(key, &inputs, random).is_ok_and(|made| {
        let Encrypted { ciphertext, iv, tag, metadata, .. } = made;
        let sealed = DecryptInputs { ciphertext, iv, tag, aad: inputs.aad.clone(), metadata };
        decrypt(key, &sealed).is_ok_and(|decrypted| *decrypted == *inputs.plaintext)
    })
}

fn refusal(error: KeyError) -> Refusal {
    match error {
        KeyError::Disabled => {
            Refusal::new(ErrorName::InvalidState, "the key is disabled; enable it in the key manager")
        }
        KeyError::Usage => {
            Refusal::new(ErrorName::InvalidKeyUsage, "the key's usage does not include this operation")
        }
        KeyError::InvalidCiphertext => Refusal::new(
            ErrorName::InvalidCiphertext,
            "ciphertext, initializationVector, authenticationTag, ciphertextMetadata or additionalAuthenticatedData is altered or not of this key",
        ),
        KeyError::TooLong => {
            Refusal::new(ErrorName::UnsupportedOperation, "the plaintext is longer than AES-GCM takes")
        }
        KeyError::Verification | KeyError::Random(_) => {
            Refusal::new(ErrorName::Internal, "the keystore failed; see the proxy's log")
        }
    }
}
