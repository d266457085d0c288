//! A host whose key store `demo` has its keys in HSMs.

use std::time::{Duration, Instant};

use holdfast_test_tokens::{Faults, Kind, Token};
use holdfast_tests::{
    Host, Operation, Reply, Setup, decrypt_body, encrypt_body, metadata_body, unbase64, wait_for,
};
use serde_json::Value;
use toml::Table;

pub const TEXT: &[u8] = b"thirty-two bytes of plain text..";
pub const KINDS: [Kind; 2] = [Kind::SoftHsm2, Kind::Kryoptic];
pub const ISOLATIONS: [&str; 2] = ["process", "threads"];

/// One HSM: a token behind a fault module.
pub struct Part {
    pub token: Token,
    pub faults: Faults,
}

impl Part {
    /// With the key `demo`, and those of [`Setup::all_keys`]; the same on every token.
    pub fn new(token: Token) -> Part {
        for (label, encrypt, decrypt) in [
            ("demo", true, true),
            ("encrypt-only", true, false),
            ("decrypt-only", false, true),
            ("impotent", false, false),
            ("disabled", true, true),
        ] {
            import(&token, label, encrypt, decrypt);
        }
        let faults = token.faults();
        Part { token, faults }
    }

    /// `[[hsm]]`.
    pub fn table(&self, isolation: &str) -> Table {
        let mut table = Table::new();
        let mut set = |name: &str, value: toml::Value| table.insert(name.to_owned(), value);
        set("name", self.token.label().into());
        set("module", self.faults.module().to_str().unwrap().into());
        set("token_label", self.token.label().into());
        set("pin_file", self.token.pin_file().to_str().unwrap().into());
        set("isolation", isolation.into());
        set("sessions", 4.into());
        set("hang_time", "1s".into());
        set("create_test_key", true.into());
        table
    }
}

/// An AES-256 key whose value follows from its label.
pub fn import(token: &Token, label: &str, encrypt: bool, decrypt: bool) {
    let mut letters = label.bytes().cycle();
    token.import_key(label, std::array::from_fn(|_| letters.next().unwrap_or_default()), encrypt, decrypt);
}

/// A running host and its HSMs.
pub struct Rig {
    // First, so that it ends before its tokens go.
    pub host: Host,
    pub parts: Vec<Part>,
}

impl Rig {
    /// Tokens with these labels; the host serves from all of them. None where their module isn't installed.
    pub fn start(kind: Kind, labels: &[&str], isolation: &'static str) -> Option<Rig> {
        Rig::start_with(kind, labels, isolation, |setup| setup)
    }

    /// The same with another setup.
    pub fn start_with(
        kind: Kind,
        labels: &[&str],
        isolation: &'static str,
        change: impl FnOnce(Setup) -> Setup,
    ) -> Option<Rig> {
        let tokens: Option<Vec<Token>> = labels.iter().map(|label| Token::make(kind, label)).collect();
        let rig = Rig::of(tokens?.into_iter().map(Part::new).collect(), isolation, change);
        rig.until_active();
        Some(rig)
    }

    /// A host that needn't serve.
    pub fn of(parts: Vec<Part>, isolation: &'static str, change: impl FnOnce(Setup) -> Setup) -> Rig {
        let host = change(setup(&parts, isolation)).start();
        Rig { host, parts }
    }

    pub fn faults(&self) -> &Faults {
        &self.parts[0].faults
    }

    /// `GET /ping`.
    pub fn ping(&self) -> u16 {
        self.host.raw().exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").status
    }

    /// The statuses of ekmFleetDetails, in the order of the HSMs.
    pub fn health(&self) -> Vec<String> {
        let health = self.host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
        let details = health["ekmFleetDetails"].as_array().unwrap();
        details.iter().map(|hsm| hsm["healthStatus"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until all HSMs are active, or slow because the machine is.
    #[track_caller]
    pub fn until_active(&self) {
        wait_for("HSMs that serve", || {
            (self.ping() == 200 && !self.health().contains(&"UNAVAILABLE".to_owned())).then_some(())
        });
    }

    /// Waits until an HSM is out of service. Asking for a key that nobody has makes the host look at all of them.
    #[track_caller]
    pub fn until_away(&self, index: usize) {
        wait_for("an HSM out of service", || {
            self.host.client().call(Operation::Metadata, "nobody-has-it", metadata_body("DescribeKey"));
            (self.health()[index] == "UNAVAILABLE").then_some(())
        });
    }

    pub fn encrypt(&self) -> Reply {
        self.host.client().call(Operation::Encrypt, "demo", encrypt_body(TEXT))
    }

    pub fn decrypt(&self, encrypted: &Value) -> Reply {
        self.host.client().call(Operation::Decrypt, "demo", decrypt_body(encrypted))
    }

    #[track_caller]
    pub fn assert_decrypts(&self, encrypted: &Value) {
        assert_eq!(unbase64(&self.decrypt(encrypted).ok()["plaintext"]), TEXT);
    }

    /// The keyManager of the record of a new encryption.
    #[track_caller]
    pub fn who_serves(&self) -> Value {
        let body = encrypt_body(TEXT);
        let id = body["requestMetadata"]["kmsRequestId"].as_str().unwrap().to_owned();
        self.host.client().call(Operation::Encrypt, "demo", body).ok();
        self.host.wait_for_record(&id)["keyManager"].clone()
    }

    /// Encrypts `each` times on each of `clients` connections: status and time of every answer.
    pub fn load(&self, clients: usize, each: usize) -> Vec<(u16, Duration)> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..clients)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = self.host.client();
                        let encrypt = |_| {
                            let request = client.request(Operation::Encrypt, "demo", encrypt_body(TEXT));
                            let began = Instant::now();
                            (client.send(request).status, began.elapsed())
                        };
                        (0..each).map(encrypt).collect::<Vec<_>>()
                    })
                })
                .collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }
}

/// The host's setup: `demo` from these HSMs, with a budget that a busy machine keeps.
pub fn setup(parts: &[Part], isolation: &'static str) -> Setup {
    let hsms: Vec<Table> = parts.iter().map(|part| part.table(isolation)).collect();
    let names: Vec<toml::Value> = parts.iter().map(|part| part.token.label().into()).collect();
    let keys: Table =
        "demo = {}\nencrypt-only = {}\ndecrypt-only = {}\nimpotent = {}\ndisabled = { disabled = true }\n"
            .parse()
            .unwrap();
    let named = move |config: &mut Table, _: &std::path::Path| {
        config.insert("hsm".into(), hsms.into_iter().map(toml::Value::from).collect::<Vec<_>>().into());
    };
    Setup::new().limit("budget", "2s").config(named).demo("hsm", names).demo("hsm_keys", keys)
}
