//! The operations of the XKS specification with the keystore's keys, for every home of the gate.

use holdfast_gate::aead::frame_aad;
use holdfast_gate::backend::{BackendError, Made, Sealed, Verified, aes_256};
use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{HealthStatus, KeyManager, KeyMetadata};
use zeroize::Zeroizing;

use crate::{Key, KeyError, Random, Status};

/// The keystore as a key manager: in health and audit records.
pub const KEY_MANAGER: &str = "keystore";
/// ekmVendor.
pub const VENDOR: &str = "Holdfast";

/// The keystore in ekmFleetDetails.
pub fn key_manager(works: bool) -> KeyManager {
    KeyManager {
        id: KEY_MANAGER.into(),
        model: concat!("Holdfast sealed keystore ", env!("CARGO_PKG_VERSION")).into(),
        status: if works { HealthStatus::Active } else { HealthStatus::Unavailable },
    }
}

/// GetKeyMetadata.
pub fn metadata(key: &Key) -> KeyMetadata {
    let usage = key.usage();
    aes_256(usage.encrypt, usage.decrypt, key.status() == Status::Enabled)
}

/// Encrypts with the newest version of the key. The AAD is framed here, as it holds the metadata made here. With `verify`
/// the result is decrypted and compared, for which the key must be one that may decrypt: AWS's test client expects that a
/// CDIV needs it.
pub fn encrypt<R: Random + ?Sized>(
    key: &Key,
    plaintext: &[u8],
    aad: &[u8],
    verify: bool,
    random: &mut R,
) -> Result<Made, BackendError> {
    if verify && key.status() == Status::Enabled && !key.usage().decrypt {
        return Err(BackendError::Usage);
    }
    // The frame is made inside, where the metadata is known; its length was checked with the body.
    let mut too_long = None;
    let frame = |metadata: &[u8]| {
        framed(aad, metadata).unwrap_or_else(|error| {
            too_long = Some(error);
            Vec::new()
        })
    };
    let made = key.encrypt(plaintext, frame, random).map_err(failed)?;
    if let Some(error) = too_long {
        return Err(error);
    }
    let verified = if verify {
        let framed = framed(aad, &made.metadata)?;
        let digest = Verified::before(&framed, &made.iv, &made.ciphertext, &made.tag);
        Some(digest.after(&key.verify(&made, &framed, plaintext).map_err(failed)?))
    } else {
        None
    };
    let sealed = Sealed {
        ciphertext: made.ciphertext,
        iv: made.iv.to_vec(),
        tag: made.tag.to_vec(),
        metadata: made.metadata,
    };
    Ok(Made { sealed, verified })
}

/// Decrypts.
pub fn decrypt(key: &Key, inputs: &DecryptInputs) -> Result<Zeroizing<Vec<u8>>, BackendError> {
    let framed = framed(&inputs.aad, &inputs.metadata)?;
    key.decrypt(&inputs.ciphertext, &inputs.iv, &inputs.tag, &inputs.metadata, &framed).map_err(failed)
}

/// Whether the key encrypts and decrypts.
pub fn works<R: Random + ?Sized>(key: &Key, random: &mut R) -> bool {
    let (plaintext, aad) = (b"holdfast health check", b"health");
    encrypt(key, plaintext, aad, false, random).is_ok_and(|made| {
        let Sealed { ciphertext, iv, tag, metadata } = made.sealed;
        let inputs = DecryptInputs { ciphertext, iv, tag, aad: aad.to_vec(), metadata };
        decrypt(key, &inputs).is_ok_and(|decrypted| decrypted.as_slice() == plaintext)
    })
}

/// The AAD of the specification; too long an AAD was refused with the body already.
fn framed(aad: &[u8], metadata: &[u8]) -> Result<Vec<u8>, BackendError> {
    frame_aad(aad, metadata).map_err(|refusal| BackendError::TooLong(refusal.message.into_owned()))
}

fn failed(error: KeyError) -> BackendError {
    match error {
        KeyError::Disabled => BackendError::Disabled,
        KeyError::Usage => BackendError::Usage,
        KeyError::InvalidCiphertext => BackendError::InvalidCiphertext,
        KeyError::TooLong => BackendError::TooLong("the plaintext is longer than AES-GCM takes".into()),
        error @ (KeyError::Verification | KeyError::Random(_)) => BackendError::Failed(error.to_string()),
    }
}
