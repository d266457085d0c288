//! A key store as requests find it: by path, with its credentials, policy and key backend.

use crate::backend::KeyBackend;
use crate::rate::RateLimiter;
use holdfast_gate::Counter;
use holdfast_gate::sigv4::{SigningKey, SigningKeys};
use holdfast_keystore::SecretAccessKey;
use holdfast_policy::life::PolicySlot;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One external key store.
pub struct KeyStore {
    /// As configured.
    pub name: String,
    /// Before `/kms/xks/v1`.
    pub uri_path_prefix: String,
    /// What requests may be signed for.
    pub regions: Vec<String>,
    /// xksProxyFleetSize.
    pub fleet_size: u32,
    /// Whose signatures are taken.
    pub credentials: Credentials,
    /// Requests a second; `None` for no limit.
    pub rate: Option<RateLimiter>,
    /// Who decides; an empty one refuses.
    pub policy: Arc<PolicySlot>,
    /// What its principals decrypted lately.
    pub counter: Counter,
    /// What does the operations.
    pub backend: Arc<dyn KeyBackend>,
}

/// The key stores by their prefix.
#[derive(Default)]
pub struct KeyStores(HashMap<String, Arc<KeyStore>>);

impl KeyStores {
    /// Of checked configuration: names and prefixes are unique.
    pub fn new(stores: impl IntoIterator<Item = Arc<KeyStore>>) -> KeyStores {
        KeyStores(stores.into_iter().map(|store| (store.uri_path_prefix.clone(), store)).collect())
    }

    /// The one whose URI path begins with `prefix`.
    pub fn at(&self, prefix: &str) -> Option<&Arc<KeyStore>> {
        self.0.get(prefix)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KeyStore>> {
        self.0.values()
    }
}

/// The credentials of a key store, replaced as a whole when the keystore changes.
#[derive(Default)]
pub struct Credentials(RwLock<Arc<HashMap<String, Arc<Credential>>>>);

/// A secret access key and the signing keys derived from it.
pub struct Credential {
    secret: SecretAccessKey,
    keys: SigningKeys,
}

impl Credential {
    /// The signing key for a day and region.
    pub fn signing_key(&self, date: &[u8], region: &str) -> SigningKey {
        self.keys.get(self.secret.expose(), date, region)
    }
}

impl Credentials {
    /// The credential of this access key id.
    pub fn get(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(access_key_id).cloned()
    }

    /// Takes these from now on; requests under way end with what they began with. Derived keys of credentials that
    /// stay are kept.
    pub fn replace(&self, secrets: impl IntoIterator<Item = (String, SecretAccessKey)>) {
        let old = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let new = secrets.into_iter().map(|(id, secret)| {
            let kept = old.get(&id).filter(|credential| credential.secret == secret).cloned();
            (id, kept.unwrap_or_else(|| Arc::new(Credential { secret, keys: SigningKeys::default() })))
        });
        let new = Arc::new(new.collect());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}
