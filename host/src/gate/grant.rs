//! The permission to do one operation with one key on the signed inputs.

use super::admission::differs;
use super::key_store::KeyStore;
use super::trace::Trace;
use holdfast_gate::aead::{cdiv, frame_aad};
use holdfast_gate::body::{DecryptInputs, EncryptInputs, Inputs};
use holdfast_gate::query::Operation;
use holdfast_gate::reply::{Encrypted, KeyMetadata, Outcome};
use holdfast_gate::{ErrorName, Refusal};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Made only by [`super::Admission::authorize`]; every operation consumes it.
pub struct Grant {
    store: Arc<KeyStore>,
    operation: Operation,
    key_id: String,
    inputs: Inputs,
}

impl Grant {
    pub(super) fn new(store: Arc<KeyStore>, operation: Operation, key_id: String, inputs: Inputs) -> Grant {
        Grant { store, operation, key_id, inputs }
    }

    /// GetKeyMetadata.
    pub async fn key_metadata(self, trace: &mut Trace) -> Result<KeyMetadata, Refusal> {
        if self.operation != Operation::GetKeyMetadata {
            return Err(differs("operation"));
        }
        let served = self.store.backend.key_metadata(&self.key_id).await?;
        trace.key_manager = served.by;
        trace.outcome = Outcome::KeyMetadata(served.value.clone());
        Ok(served.value)
    }

    /// Encrypt: AAD framing, encryption, CDIV and its verifying decryption, on the signed inputs.
    pub async fn encrypt(self, claimed: &EncryptInputs, trace: &mut Trace) -> Result<Encrypted, Refusal> {
        let (Operation::Encrypt, Inputs::Encrypt(inputs)) = (self.operation, &self.inputs) else {
            return Err(differs("operation"));
        };
        if inputs != claimed {
            return Err(differs("inputs"));
        }
        let backend = &self.store.backend;
        let deadline = trace.deadline;
        let served = backend.encrypt(&self.key_id, &inputs.plaintext, &inputs.aad, deadline).await?;
        trace.key_manager = served.by;
        let made = served.value;
        // In this order: a bit that flips after the CDIV was computed is found by the decryption (spec, Appendix C).
        let value = inputs
            .with_cdiv
            .then(|| cdiv(&inputs.aad, &made.metadata, &made.iv, &made.ciphertext, &made.tag));
        if inputs.with_cdiv {
            let framed = frame_aad(&inputs.aad, &made.metadata)?;
            backend.verify(&self.key_id, &made, &framed, &inputs.plaintext, deadline).await?;
        }
        let fits = made.ciphertext.len() == inputs.plaintext.len()
            && matches!(made.iv.len(), 12 | 16)
            && made.tag.len() == 16
            && made.metadata.len() <= holdfast_gate::aead::METADATA_LIMIT;
        if !fits {
            return Err(Refusal::new(ErrorName::Internal, "the key manager's result has wrong lengths"));
        }
        let encrypted = Encrypted {
            ciphertext: made.ciphertext,
            iv: made.iv,
            tag: made.tag,
            metadata: made.metadata,
            cdiv: value,
        };
        trace.outcome = Outcome::Encrypted(encrypted.clone());
        Ok(encrypted)
    }

    /// Decrypt, on the signed inputs.
    pub async fn decrypt(
        self,
        claimed: &DecryptInputs,
        trace: &mut Trace,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (Operation::Decrypt, Inputs::Decrypt(inputs)) = (self.operation, &self.inputs) else {
            return Err(differs("operation"));
        };
        if inputs != claimed {
            return Err(differs("inputs"));
        }
        let backend = &self.store.backend;
        let served = backend.decrypt(&self.key_id, inputs, trace.deadline).await?;
        trace.key_manager = served.by;
        trace.outcome = Outcome::Plaintext(served.value.clone());
        Ok(served.value)
    }
}
