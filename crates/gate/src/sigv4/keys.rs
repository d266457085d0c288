//! Signing keys, derived from a secret access key for a day and a region (AWS "Calculate the signature"), and cached.

use super::limits::SERVICE;
use hmac::{Hmac, KeyInit, Mac};
use holdfast_secret::Secret;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The key of one day, region and service. Cheap to clone; the bytes are locked in memory.
#[derive(Clone, Debug)]
pub struct SigningKey(Arc<Secret>);

impl SigningKey {
    /// HMAC chain over date (`YYYYMMDD`), region, service and `aws4_request`.
    pub fn derive(secret_access_key: &[u8], date: &[u8], region: &str) -> SigningKey {
        let mut start = Zeroizing::new(Vec::with_capacity(4 + secret_access_key.len()));
        start.extend_from_slice(b"AWS4");
        start.extend_from_slice(secret_access_key);
        let mut key = Zeroizing::new(hmac_sha256(&start, date));
        for part in [region.as_bytes(), SERVICE.as_bytes(), b"aws4_request"] {
            key = Zeroizing::new(hmac_sha256(key.as_slice(), part));
        }
        SigningKey(Arc::new(Secret::copy_from(key.as_slice())))
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        hmac_sha256(self.0.expose(), text)
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length (RFC 2104), so the other arm is never reached. Were it, its value must be no constant
    // that a client could claim: it depends on the key, and no signer computes it.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else {
        return Sha256::new().chain_update(key).chain_update(text).finalize().into();
    };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// How many days and regions are kept for one credential: two days around midnight for each of a few regions.
const KEPT: usize = 8;

/// The derived keys of one credential.
#[derive(Default)]
pub struct SigningKeys {
    kept: Mutex<Vec<Entry>>,
}

struct Entry {
    date: Vec<u8>,
    region: String,
    key: SigningKey,
}

impl SigningKeys {
    /// The key for `date` (`YYYYMMDD`) and `region`, derived on first use. The oldest entry makes room.
    pub fn get(&self, secret_access_key: &[u8], date: &[u8], region: &str) -> SigningKey {
        // A poisoned lock only says that another thread panicked between two whole states of the list.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.iter().find(|entry| entry.date == date && entry.region == region) {
            return entry.key.clone();
        }
        let key = SigningKey::derive(secret_access_key, date, region);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(Entry { date: date.to_vec(), region: region.to_owned(), key: key.clone() });
        key
    }
}
