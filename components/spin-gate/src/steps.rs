//! The steps of a request, each made only by consuming the one before.

use std::sync::Arc;

use holdfast_gate::body::{DecryptInputs, EncryptInputs};
use holdfast_gate::query::Operation;
use holdfast_gate::reply::{Encrypted, Health, KeyMetadata};
use holdfast_gate::request::{self, Authentic};
use holdfast_gate::sigv4::SigningKey;
use holdfast_gate::{Refusal, admission, grant, refusals};
use holdfast_keystore::operations;
use zeroize::Zeroizing;

use crate::answers::{BODY_LIMIT, refused};
use crate::exchange::{Exchange, Shared};
use crate::outside::Outside;
use crate::store::Store;

/// A head that was checked. Made only by [`crate::Home::open`].
pub struct Expecting {
    pub(crate) path: String,
    pub(crate) store: Store,
    pub(crate) exchange: Exchange,
    pub(crate) head: request::Expecting,
    /// Derives the signing key of a date and region.
    pub(crate) key: SigningKeyOf,
}

pub(crate) type SigningKeyOf = Box<dyn FnOnce(&[u8], &str) -> SigningKey>;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Longer than [`BODY_LIMIT`].
    TooLong,
    /// It ended early or could not be read.
    Broken,
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Refusal {
        match fault {
            BodyFault::TooLong => refusals::body_too_long(BODY_LIMIT),
            BodyFault::Broken => refusals::body_broken(),
        }
    }
}

/// A request, the end of its way, and what the proxy is told of it.
pub struct Received {
    /// For the front.
    pub exchange: Exchange,
    /// For the proxy.
    pub request: Request,
    /// For the proxy: what follows the key store's URI path.
    pub path: String,
}

impl Expecting {
    /// The request with the body that came, or with why none did. Compares the signature and reads the body; what isn't
    /// authentic is refused here, before a proxy is asked, and what is has its record from here on.
    pub fn complete(self, body: Result<Vec<u8>, BodyFault>) -> Result<Received, (u16, String)> {
        let Expecting { path, store, exchange, head, key } = self;
        let body = body.map_err(|fault| refused(fault.into()))?;
        if body.len() > BODY_LIMIT {
            return Err(refused(BodyFault::TooLong.into()));
        }
        let trace = exchange.trace();
        let authentic = trace.step(|known| head.complete(body, key, known).map_err(Refusal::from));
        let authentic = authentic.map_err(refused)?;
        let request = Request { store, trace, authentic };
        Ok(Received { exchange, request, path })
    }
}

/// An authentic request.
pub struct Request {
    store: Store,
    trace: Shared,
    authentic: Authentic<Vec<u8>>,
}

/// Made only by [`Request::admit`].
pub struct Admission {
    store: Store,
    trace: Shared,
    admitted: admission::Admission,
}

/// Made only by [`Admission::authorize`]; every operation consumes it.
pub struct Grant {
    store: Store,
    trace: Shared,
    granted: grant::Grant,
}

impl Request {
    /// Only a request with a valid body is admitted. Gives the admission and the body's text.
    pub fn admit(self) -> Result<(Admission, String), Refusal> {
        let Request { store, trace, authentic } = self;
        // No rate outlives an instance.
        let (admitted, text) = trace.step(|known| authentic.admit(true, known))?;
        Ok((Admission { store, trace, admitted }, text))
    }
}

impl Admission {
    /// Asks the policy about verified facts. `operation` and `key_id` must be those of the signed path; a component
    /// that says otherwise is refused.
    pub fn authorize(
        self,
        operation: Operation,
        key_id: &str,
        outside: &mut dyn Outside,
    ) -> Result<Grant, Refusal> {
        let Admission { store, trace, admitted } = self;
        let granted = trace.step(|known| {
            let (asked, query) =
                admitted.ask(operation, key_id, store.name(), None, store.counter(), known)?;
            let decision = outside.decide(&query).map_err(|_| refusals::undecided())?;
            asked.decided(Arc::new(decision), known)
        })?;
        Ok(Grant { store, trace, granted })
    }

    /// The health of the key store. Never subject to policy.
    pub fn health(self, outside: &mut dyn Outside) -> Result<Health, Refusal> {
        let Admission { store, trace, admitted } = self;
        trace.step(|known| admitted.health(|| store.health(outside), known))
    }
}

impl Grant {
    /// GetKeyMetadata.
    pub fn key_metadata(self) -> Result<KeyMetadata, Refusal> {
        let Grant { store, trace, granted } = self;
        trace.step(|known| {
            let describing = granted.describe()?;
            let metadata = operations::metadata(store.key(&describing.key_id)?);
            known.key_manager = Some(operations::KEY_MANAGER.into());
            Ok(describing.done(metadata, known))
        })
    }

    /// Encrypt: AAD framing, encryption, verifying decryption and CDIV, on the signed inputs.
    pub fn encrypt(self, claimed: &EncryptInputs, outside: &mut dyn Outside) -> Result<Encrypted, Refusal> {
        let Grant { store, trace, granted } = self;
        trace.step(|known| {
            let encrypting = granted.encrypt(claimed)?;
            let key = store.key(&encrypting.key_id)?;
            let EncryptInputs { plaintext, aad, with_cdiv } = &encrypting.inputs;
            let made = operations::encrypt(key, plaintext, aad, *with_cdiv, outside)?;
            known.key_manager = Some(operations::KEY_MANAGER.into());
            encrypting.done(made, known)
        })
    }

    /// Decrypt, on the signed inputs.
    pub fn decrypt(self, claimed: &DecryptInputs) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let Grant { store, trace, granted } = self;
        trace.step(|known| {
            let decrypting = granted.decrypt(claimed)?;
            let plaintext = operations::decrypt(store.key(&decrypting.key_id)?, &decrypting.inputs)?;
            known.key_manager = Some(operations::KEY_MANAGER.into());
            Ok(decrypting.done(plaintext, known))
        })
    }
}
