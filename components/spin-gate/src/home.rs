//! What an instance holds for all of its requests: the opened keystore and the key stores.

use std::rc::Rc;

use holdfast_gate::reply::{Health, HealthStatus, KeyManager};
use holdfast_gate::sigv4::{AuthenticationFault, CheckedHead, Headers, SigningKeys, check_head};
use holdfast_gate::target::{Target, TargetFault};
use holdfast_gate::{ErrorName, Refusal};
use holdfast_keystore::{Contents, Credential, Key};

use crate::exchange::{Called, Exchange};
use crate::keys;
use crate::outside::Outside;
use crate::request::{Checked, Expecting};

/// The longest body that is taken, in bytes; the native host's default.
pub const BODY_LIMIT: usize = 64 * 1024;

/// One external key store.
pub(crate) struct KeyStore {
    pub(crate) name: String,
    pub(crate) uri_path_prefix: String,
    pub(crate) regions: Vec<String>,
    pub(crate) fleet_size: u32,
}

/// The opened keystore and the key stores that are served from it.
pub struct Home {
    contents: Contents,
    stores: Vec<KeyStore>,
}

/// The head of a request.
pub struct Head {
    /// As received.
    pub method: String,
    /// Path and query as received.
    pub path: String,
    /// Where the request was sent to, as the server understood it.
    pub authority: Option<String>,
    /// Names in lower case, values as received, repeated ones repeated.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What becomes of a head: an answer at once, or a request whose body may be worth reading.
pub type Opened = Result<Expecting, (u16, String)>;

impl Home {
    pub(crate) fn new(contents: Contents, stores: Vec<KeyStore>) -> Home {
        Home { contents, stores }
    }

    /// Checks a head before its body is read, as the native server and gate do.
    pub fn open(self: &Rc<Home>, mut head: Head, outside: &mut dyn Outside) -> Opened {
        let refused = |refusal: &Refusal| (refusal.name.status(), refusal.to_json());
        if head.method == "GET" && head.path == "/ping" {
            return Err(self.ping(outside));
        }
        let received = outside.now();
        one_host(&mut head).map_err(|refusal| refused(&refusal))?;
        let unknown = |fault: TargetFault| Refusal::with(ErrorName::InvalidUriPath, fault.to_string());
        let target = Target::parse(&head.path).map_err(|fault| refused(&unknown(fault)))?;
        let Some(index) = self.stores.iter().position(|store| store.uri_path_prefix == target.prefix) else {
            return Err(refused(&Refusal::new(
                ErrorName::InvalidUriPath,
                "no key store has this URI path; check the XksProxyUriPath",
            )));
        };
        let called = called(&head.method, target)?;
        let tail = target.tail.to_owned();
        let store = Store { home: self.clone(), index };
        let checked = check(&store, &head, called, received.seconds, outside).map_err(unauthenticated)?;
        let exchange = Exchange::new(store.clone(), received);
        Ok(Expecting { method: head.method, path: tail, store, exchange, checked })
    }

    /// For load balancers: 200 when a key store can serve.
    fn ping(&self, outside: &mut dyn Outside) -> (u16, String) {
        let serves = |store: &KeyStore| {
            self.contents.key_store(&store.name).is_some_and(|store| keys::works(store.test_key(), outside))
        };
        if self.stores.iter().any(serves) {
            return (200, "{\"status\":\"ok\"}".to_owned());
        }
        let refusal = Refusal::new(ErrorName::DependencyTimeout, "no key store can encrypt and decrypt");
        (refusal.name.status(), refusal.to_json())
    }
}

/// One key store of a home.
#[derive(Clone)]
pub(crate) struct Store {
    home: Rc<Home>,
    index: usize,
}

impl Store {
    fn settings(&self) -> &KeyStore {
        &self.home.stores[self.index]
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings().name
    }

    fn contents(&self) -> Option<&holdfast_keystore::KeyStore> {
        self.home.contents.key_store(self.name())
    }

    pub(crate) fn key(&self, key_id: &str) -> Result<&Key, Refusal> {
        let unknown = Refusal::new(ErrorName::KeyNotFound, "this key store has no key with this id");
        self.contents().and_then(|store| store.key(key_id)).ok_or(unknown)
    }

    pub(crate) fn credential(&self, access_key_id: &str) -> Option<&Credential> {
        self.contents().and_then(|store| store.credential(access_key_id))
    }

    /// By an operation with the test key, now: no background check outlives a request here.
    pub(crate) fn health(&self, outside: &mut dyn Outside) -> Health {
        let works = self.contents().is_some_and(|store| keys::works(store.test_key(), outside));
        Health {
            fleet_size: self.settings().fleet_size,
            vendor: "Holdfast".into(),
            model: concat!("Holdfast ", env!("CARGO_PKG_VERSION")).into(),
            ekm_vendor: "Holdfast".into(),
            fleet: vec![KeyManager {
                id: keys::MANAGER.into(),
                model: concat!("Holdfast sealed keystore ", env!("CARGO_PKG_VERSION")).into(),
                status: if works { HealthStatus::Active } else { HealthStatus::Unavailable },
            }],
        }
    }
}

/// What is answered before there are settings.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only the component can be asked so early")
)]
pub(crate) fn unconfigured() -> (u16, String) {
    let refusal = Refusal::new(ErrorName::DependencyTimeout, "this proxy has no settings yet");
    (refusal.name.status(), refusal.to_json())
}

/// Leaves exactly one host: what the server understood and what the client sent must be the same.
fn one_host(head: &mut Head) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::new(ErrorName::Validation, message));
    let host = |name: &str| name == "host";
    if let Some(authority) = &head.authority {
        if head.headers.iter().any(|(name, value)| host(name) && value != authority.as_bytes()) {
            return invalid("Host differs from :authority");
        }
        if !head.headers.iter().any(|(name, _)| host(name)) {
            head.headers.push(("host".into(), authority.clone().into_bytes()));
        }
    }
    if head.headers.iter().filter(|(name, _)| name == "content-length").count() > 1 {
        return invalid("Content-Length stands more than once");
    }
    Ok(())
}

pub(crate) fn unauthenticated(fault: AuthenticationFault) -> (u16, String) {
    let refusal = Refusal::new(ErrorName::AuthenticationFailed, fault.message());
    (refusal.name.status(), refusal.to_json())
}

/// What the path calls by POST. Natively the proxy says why there is nothing; here its instance may have served others, so
/// it is never asked about what nobody has signed.
fn called(method: &str, target: Target<'_>) -> Result<Called, (u16, String)> {
    let name = ErrorName::InvalidUriPath;
    let call = target.call().ok_or_else(|| (name.status(), Refusal::new(name, name.message()).to_json()))?;
    if method != "POST" {
        // The specification asks for this status and has no errorName for it (checklist T2).
        return Err((405, Refusal::new(name, "this API takes POST only").to_json()));
    }
    Ok(Called::from(call))
}

fn check(
    store: &Store,
    head: &Head,
    called: Called,
    now: u64,
    outside: &mut dyn Outside,
) -> Result<Checked, AuthenticationFault> {
    if !head.headers.iter().any(|(name, _)| name == "authorization") {
        return Err(AuthenticationFault::Claim);
    }
    let claim = outside.claim(&head_text(head))?;
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let headers = Headers::new(headers.collect());
    let regions = &store.settings().regions;
    let verifying: CheckedHead = check_head(&head.method, &head.path, &headers, &claim, now, regions)?;
    let known = store.credential(&claim.access_key_id).ok_or(AuthenticationFault::AccessKeyId)?;
    let key = SigningKeys::default().get(known.secret().expose(), verifying.date(), verifying.region());
    Ok(Checked { access_key_id: claim.access_key_id, verifying, key, called })
}

/// The head as the contract `holdfast:authn` has it: request line, then a line for each header.
fn head_text(head: &Head) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(head.method.as_bytes());
    text.push(b' ');
    text.extend_from_slice(head.path.as_bytes());
    text.push(b'\n');
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(authority: Option<&str>, headers: &[(&str, &str)]) -> Head {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Head {
            method: "POST".into(),
            path: "/kms/xks/v1/health".into(),
            authority: authority.map(str::to_owned),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn hosts(mut head: Head) -> Result<Vec<Vec<u8>>, Refusal> {
        one_host(&mut head)?;
        Ok(head.headers.into_iter().filter(|(name, _)| name == "host").map(|(_, value)| value).collect())
    }

    #[test]
    fn the_host_is_what_the_server_understood() {
        assert_eq!(hosts(head(Some("a:1"), &[])).unwrap(), [b"a:1"]);
        assert_eq!(hosts(head(Some("a:1"), &[("host", "a:1")])).unwrap(), [b"a:1"]);
        assert_eq!(hosts(head(None, &[("host", "a:1")])).unwrap(), [b"a:1"]);
        assert_eq!(hosts(head(Some("a:1"), &[("host", "b")])).unwrap_err().name, ErrorName::Validation);
        let two = head(None, &[("content-length", "1"), ("content-length", "1")]);
        assert_eq!(hosts(two).unwrap_err().name, ErrorName::Validation);
    }

    #[test]
    fn what_calls_no_api_is_refused_without_a_proxy() {
        let called = |method: &str, path: &str| {
            called(method, Target::parse(path).unwrap()).map_err(|(status, _)| status)
        };
        assert!(called("POST", "/kms/xks/v1/health").is_ok());
        assert_eq!(called("GET", "/kms/xks/v1/health").unwrap_err(), 405);
        assert_eq!(called("POST", "/kms/xks/v1/keys/a").unwrap_err(), 404);
        assert_eq!(called("GET", "/kms/xks/v1/keys/a").unwrap_err(), 404);
    }
}
