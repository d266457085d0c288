//! A defect that panics the host costs its own request, which is recorded all the same.

use std::sync::Arc;
use std::time::Instant;

use holdfast::backend::{Done, KeyBackend, Made, Served};
use holdfast::config::Config;
use holdfast::gate::{KeyStore, KeyStores};
use holdfast::runtime::Runtime;
use holdfast::server::{Exchange, Server};
use holdfast_client::{Client, Credential, Endpoint, Protocol, Signer, Trust};
use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{KeyManager, KeyMetadata};
use holdfast_tests::{Host, Operation, Reply, Setup, encrypt_body};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Encrypts, or panics where the encryption is to be verified.
struct Panics(Arc<dyn KeyBackend>);

impl KeyBackend for Panics {
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    fn vendor(&self) -> String {
        self.0.vendor()
    }

    fn fleet(&self) -> Vec<KeyManager> {
        self.0.fleet()
    }

    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, Served<KeyMetadata>> {
        self.0.key_metadata(key_id)
    }

    fn encrypt<'a>(
        &'a self,
        key_id: &'a str,
        plaintext: &'a [u8],
        aad: &'a [u8],
        verify: bool,
        deadline: Instant,
    ) -> Done<'a, Served<Made>> {
        if verify {
            return Box::pin(async { panic!("a defect") });
        }
        self.0.encrypt(key_id, plaintext, aad, verify, deadline)
    }

    fn decrypt<'a>(
        &'a self,
        key_id: &'a str,
        inputs: &'a DecryptInputs,
        deadline: Instant,
    ) -> Done<'a, Served<Zeroizing<Vec<u8>>>> {
        self.0.decrypt(key_id, inputs, deadline)
    }

    fn check(&self) {}
}

/// What the host's configuration makes, with backends that panic.
async fn exchange(config: &Config) -> Exchange {
    let Runtime { exchange, .. } = Runtime::assemble(config).await.unwrap();
    let mut exchange = Arc::into_inner(exchange).unwrap();
    let stores: Vec<Arc<KeyStore>> = exchange.stores.iter().cloned().collect();
    exchange.stores = KeyStores::default();
    let panics = |store: Arc<KeyStore>| {
        let store = Arc::into_inner(store).unwrap();
        Arc::new(KeyStore { backend: Arc::new(Panics(store.backend.clone())), ..store })
    };
    exchange.stores = KeyStores::new(stores.into_iter().map(panics));
    exchange
}

fn client(host: &Host, url: &str) -> Client {
    let credential = host.credential();
    let secret = Zeroizing::new(credential.secret.clone());
    let signing = Credential::new(&credential.access_key_id, secret).unwrap();
    let signer = Signer::new(&signing, "us-east-1").unwrap();
    let endpoint = Endpoint::parse(url, Some(host.uri_path())).unwrap();
    Client::new(endpoint, Trust::CaFile(host.ca_file()), Protocol::Http1, signer)
}

#[tokio::test]
async fn l1_t8_a_request_that_panics_the_host_as_the_key_is_used_is_refused_and_recorded() {
    let mut host = Setup::new().limit("budget", "2s").start();
    host.terminate();
    host.wait();
    let config = Config::load(&host.config_file()).unwrap();
    let exchange = Arc::new(exchange(&config).await);
    let limits = config.server.limits.clone();
    let server = Server::bind(config.server.listen, None, limits, exchange.clone()).await.unwrap();
    let url = format!("http://{}", server.address().unwrap());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(server.run(stopped));

    let mut client = client(&host, &url);
    let mut send = async |body: &Value| {
        let body = body.to_string().into();
        let request = client.raw_request(Operation::Encrypt, "demo", body, std::time::SystemTime::now());
        Reply::from(client.send(request.unwrap()).await.unwrap())
    };
    let mut body = encrypt_body("a plaintext");
    let id = body["requestMetadata"]["kmsRequestId"].clone();
    body["ciphertextDataIntegrityValueAlgorithm"] = json!("SHA_256");
    send(&body).await.refused(500, "InternalException");
    let others = encrypt_body("another");
    send(&others).await.ok();

    let records = host.audit_records();
    let of = |id: &Value| {
        let mut found = records.iter().filter(|record| record["requestMetadata"]["kmsRequestId"] == *id);
        let record = found.next().unwrap_or_else(|| panic!("no record of {id}: {records:?}"));
        assert!(found.next().is_none());
        record
    };
    let record = of(&id);
    assert_eq!((&record["status"], &record["errorName"]), (&json!(500), &json!("InternalException")));
    assert_eq!((&record["operation"], &record["keyId"]), (&json!("Encrypt"), &json!("demo")));
    assert_eq!(record["policy"]["effect"], "allow");
    assert_eq!(of(&others["requestMetadata"]["kmsRequestId"])["status"], 200);
}
