//! The head of a request, checked before anything else of it is read.

use std::rc::Rc;

use holdfast_gate::request;
use holdfast_gate::sigv4::{Headers, SigningKeys};
use holdfast_gate::target::{Target, TargetFault};
use holdfast_gate::{ErrorName, Refusal, refusals};
use holdfast_keystore::operations;

use crate::answers::refused;
use crate::exchange::Exchange;
use crate::outside::Outside;
use crate::steps::Expecting;
use crate::store::{Home, Store};

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
    /// Checks a head before its body is read, as the native server and gate do.
    pub fn open(self: &Rc<Home>, mut head: Head, outside: &mut dyn Outside) -> Opened {
        if head.method == "GET" && head.path == "/ping" {
            return Err(self.ping(outside));
        }
        let received = outside.now();
        one_host(&mut head).map_err(refused)?;
        let unknown = |fault: TargetFault| Refusal::with(ErrorName::InvalidUriPath, fault.to_string());
        let target = Target::parse(&head.path).map_err(|fault| refused(unknown(fault)))?;
        let index = self.stores.iter().position(|store| store.uri_path_prefix == target.prefix);
        let store = match index {
            Some(index) => Store::new(self, index),
            None => return Err(refused(refusals::no_such_key_store())),
        };
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let Some(call) = request::Head::new(&head.method, &head.path, Headers::new(headers)) else {
            return Err(no_call(target));
        };
        let exchange = Exchange::new(store.clone(), received);
        let expecting = store.check(&call, received.seconds, outside);
        let (head, credential) = expecting.map_err(|fault| refused(fault.into()))?;
        let key = Box::new(move |date: &[u8], region: &str| {
            SigningKeys::default().get(credential.secret().expose(), date, region)
        });
        Ok(Expecting { path: target.tail.to_owned(), store, exchange, head, key })
    }

    /// For load balancers: 200 when a key store can serve.
    fn ping(&self, outside: &mut dyn Outside) -> (u16, String) {
        let mut stores = self.stores.iter().filter_map(|store| self.contents.key_store(&store.name));
        if stores.any(|store| operations::works(store.test_key(), outside)) {
            return (200, "{\"status\":\"ok\"}".to_owned());
        }
        refused(Refusal::new(ErrorName::DependencyTimeout, "no key store can encrypt and decrypt"))
    }
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

/// Natively the proxy says why there is nothing; here its instance may have served others, so it is never asked about what
/// nobody has signed.
fn no_call(target: Target<'_>) -> (u16, String) {
    let name = ErrorName::InvalidUriPath;
    match target.call() {
        // The specification asks for this status and has no errorName for it (checklist T2).
        Some(_) => (405, Refusal::new(name, "this API takes POST only").to_json()),
        None => refused(Refusal::new(name, name.message())),
    }
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
        let status = |method: &str, path: &str| {
            let calls = request::Head::new(method, path, Headers::new(Vec::new())).is_some();
            (!calls).then(|| no_call(Target::parse(path).unwrap()).0)
        };
        assert_eq!(status("POST", "/kms/xks/v1/health"), None);
        assert_eq!(status("GET", "/kms/xks/v1/health"), Some(405));
        assert_eq!(status("POST", "/kms/xks/v1/keys/a"), Some(404));
        assert_eq!(status("GET", "/kms/xks/v1/keys/a"), Some(404));
    }
}
