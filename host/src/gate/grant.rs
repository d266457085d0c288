//! The permission to do one operation with one key on the signed inputs.

use super::key_store::KeyStore;
use super::trace::Trace;
use crate::backend::refusal;
use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::reply::{Encrypted, KeyMetadata};
use holdfast_gate::{Refusal, grant};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Made only by [`super::Admission::authorize`]; every operation consumes it.
pub struct Grant {
    store: Arc<KeyStore>,
    granted: grant::Grant,
}

impl Grant {
    pub(super) fn new(store: Arc<KeyStore>, granted: grant::Grant) -> Grant {
        Grant { store, granted }
    }

    /// GetKeyMetadata.
    pub async fn key_metadata(self, trace: &mut Trace) -> Result<KeyMetadata, Refusal> {
        let describing = self.granted.describe()?;
        let served = self.store.backend.key_metadata(&describing.key_id).await.map_err(refusal)?;
        trace.known.key_manager = served.by;
        Ok(describing.done(served.value, &mut trace.known))
    }

    /// Encrypt: AAD framing, encryption, verifying decryption and CDIV, on the signed inputs.
    pub async fn encrypt(self, claimed: &EncryptInputs, trace: &mut Trace) -> Result<Encrypted, Refusal> {
        let encrypting = self.granted.encrypt(claimed)?;
        let (backend, deadline, inputs) = (&self.store.backend, trace.deadline, &encrypting.inputs);
        let EncryptInputs { plaintext, aad, with_cdiv } = inputs;
        let made = backend.encrypt(&encrypting.key_id, plaintext, aad, *with_cdiv, deadline);
        let served = made.await.map_err(refusal)?;
        trace.known.key_manager = served.by;
        encrypting.done(served.value, &mut trace.known)
    }

    /// Decrypt, on the signed inputs.
    pub async fn decrypt(
        self,
        claimed: &DecryptInputs,
        trace: &mut Trace,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let decrypting = self.granted.decrypt(claimed)?;
        let opened = self.store.backend.decrypt(&decrypting.key_id, &decrypting.inputs, trace.deadline);
        let served = opened.await.map_err(refusal)?;
        trace.known.key_manager = served.by;
        Ok(decrypting.done(served.value, &mut trace.known))
    }
}
