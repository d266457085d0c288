//! What an instance holds for all of its requests: the opened keystore and the key stores.

use std::rc::Rc;

use holdfast_gate::reply::Health;
use holdfast_gate::request;
use holdfast_gate::sigv4::AuthenticationFault;
use holdfast_gate::{Counter, backend};
use holdfast_keystore::{Contents, Credential, Key, operations};

use crate::outside::Outside;

/// One external key store.
pub(crate) struct KeyStore {
    pub(crate) name: String,
    pub(crate) uri_path_prefix: String,
    pub(crate) regions: Vec<String>,
    pub(crate) fleet_size: u32,
    pub(crate) counter: Counter,
}

/// The opened keystore and the key stores that are served from it.
pub struct Home {
    pub(crate) contents: Contents,
    pub(crate) stores: Vec<KeyStore>,
}

impl Home {
    pub(crate) fn new(contents: Contents, stores: Vec<KeyStore>) -> Home {
        Home { contents, stores }
    }
}

/// One key store of a home.
#[derive(Clone)]
pub(crate) struct Store {
    home: Rc<Home>,
    index: usize,
}

impl Store {
    pub(crate) fn new(home: &Rc<Home>, index: usize) -> Store {
        Store { home: home.clone(), index }
    }

    fn settings(&self) -> &KeyStore {
        &self.home.stores[self.index]
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings().name
    }

    pub(crate) fn counter(&self) -> &Counter {
        &self.settings().counter
    }

    fn contents(&self) -> Option<&holdfast_keystore::KeyStore> {
        self.home.contents.key_store(self.name())
    }

    pub(crate) fn key(&self, key_id: &str) -> Result<&Key, backend::BackendError> {
        self.contents().and_then(|store| store.key(key_id)).ok_or(backend::BackendError::KeyNotFound)
    }

    /// The cheap checks.
    pub(crate) fn check(
        &self,
        head: &request::Head<'_>,
        now: u64,
        outside: &mut dyn Outside,
    ) -> Result<(request::Expecting, Credential), AuthenticationFault> {
        let claim = outside.claim(&head.text()?)?;
        let credential = |id: &str| self.contents().and_then(|store| store.credential(id)).cloned();
        head.check(claim, now, &self.settings().regions, credential)
    }

    /// By an operation with the test key, now: no background check outlives a request here.
    pub(crate) fn health(&self, outside: &mut dyn Outside) -> Health {
        let works = self.contents().is_some_and(|store| operations::works(store.test_key(), outside));
        let fleet = vec![operations::key_manager(works)];
        backend::health(self.settings().fleet_size, operations::VENDOR.into(), fleet)
    }
}
