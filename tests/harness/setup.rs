//! What a host is started with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::{Table, Value};

use crate::host::{Credential, Host};
use crate::places;
use crate::spin::Spin;

/// A policy that allows everything, by the rule `permit-all`.
pub const PERMIT_ALL: &str = "@id(\"permit-all\") permit (principal, action, resource);\n";

/// For a request, where a test isn't about budgets.
const AMPLE_BUDGET: &str = "10s";

/// A change of the configuration; the path is that of the host's folder.
type Edit = Box<dyn FnOnce(&mut Table, &Path)>;

/// A host to be: by default plain HTTP on a free loopback port, the key store `demo` at `/demo` with the key `demo`,
/// everything permitted, no rate limit, a budget that a busy machine keeps, metrics on.
pub struct Setup {
    tls: bool,
    policy: Option<String>,
    keys: Vec<(String, String, bool)>,
    key_stores: Vec<(String, String)>,
    edits: Vec<Edit>,
    environment: Vec<(String, String)>,
    spin: Option<Spin>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Setup {
    /// The default.
    pub fn new() -> Setup {
        Setup {
            tls: false,
            policy: Some(PERMIT_ALL.to_owned()),
            keys: Vec::new(),
            key_stores: Vec::new(),
            edits: Vec::new(),
            environment: Vec::new(),
            spin: None,
        }
    }

    /// Serves the folder by the composed component, in `program` (of the package `holdfast-test-spin`) with `options`.
    pub fn spin(mut self, program: impl Into<PathBuf>, options: &[&str]) -> Setup {
        self.spin = Some(Spin::new(program, options));
        self
    }

    /// HTTPS, with the certificate that `holdfast init` makes.
    pub fn tls(mut self) -> Setup {
        self.tls = true;
        self
    }

    /// Another policy, in Cedar, for every key store.
    pub fn policy(mut self, text: &str) -> Setup {
        self.policy = Some(text.to_owned());
        self
    }

    /// The policy that `holdfast init` writes.
    pub fn starter_policy(mut self) -> Setup {
        self.policy = None;
        self
    }

    /// A key of key store `demo`: `usage` as `holdfast key create --usage` takes it, such as `encrypt` or `none`.
    pub fn key(mut self, id: &str, usage: &str) -> Setup {
        self.keys.push((id.to_owned(), usage.to_owned(), false));
        self
    }

    /// A key that is disabled.
    pub fn disabled_key(mut self, id: &str) -> Setup {
        self.keys.push((id.to_owned(), "encrypt,decrypt".to_owned(), true));
        self
    }

    /// The keys `encrypt-only`, `decrypt-only`, `impotent` and `disabled`.
    pub fn all_keys(self) -> Setup {
        self.key("encrypt-only", "encrypt")
            .key("decrypt-only", "decrypt")
            .key("impotent", "none")
            .disabled_key("disabled")
    }

    /// One more key store at `prefix`, with a credential ([`Host::credential_of`]), a key `NAME-key` and the policy.
    pub fn key_store(mut self, name: &str, prefix: &str) -> Setup {
        self.key_stores.push((name.to_owned(), prefix.to_owned()));
        self
    }

    /// A limit, such as `("header_time", "300ms")`.
    pub fn limit(self, name: &'static str, value: impl Into<Value>) -> Setup {
        let value = value.into();
        self.config(move |config, _| {
            let limits = table(config, "server").entry("limits").or_insert_with(|| Table::new().into());
            limits.as_table_mut().unwrap().insert(name.to_owned(), value);
        })
    }

    /// Requests a second of key store `demo`, and at once.
    pub fn rate(self, per_second: u32, burst: u32) -> Setup {
        self.demo("rate_limit", i64::from(per_second)).demo("burst", i64::from(burst))
    }

    /// A field of key store `demo`, such as `regions`.
    pub fn demo(self, field: &'static str, value: impl Into<Value>) -> Setup {
        let value = value.into();
        self.config(move |config, _| {
            key_store(config, 0).insert(field.to_owned(), value);
        })
    }

    /// Another component, such as `("proxy", hostile("proxy-traps"))`: `sigv4`, `proxy`, or `policy` (of key store `demo`).
    pub fn component(self, contract: &'static str, file: impl Into<PathBuf>) -> Setup {
        let file = file.into();
        self.config(move |config, _| {
            let mut entry = Table::new();
            entry.insert("path".into(), file.to_str().unwrap().into());
            match contract {
                "policy" => {
                    let policy = key_store(config, 0).get_mut("policy").and_then(Value::as_table_mut);
                    policy.unwrap().insert("component".into(), entry.into());
                }
                _ => {
                    table(config, "components").insert(contract.to_owned(), entry.into());
                }
            }
        })
    }

    /// Where the audit log goes.
    pub fn audit(self, path: impl Into<PathBuf>) -> Setup {
        let path = path.into();
        self.config(move |config, _| {
            table(config, "audit").insert("path".into(), path.to_str().unwrap().into());
        })
    }

    /// Any other change of the configuration; the path is that of the host's folder.
    pub fn config(mut self, edit: impl FnOnce(&mut Table, &Path) + 'static) -> Setup {
        self.edits.push(Box::new(edit));
        self
    }

    /// A variable of the host's environment, such as `RUST_LOG`.
    pub fn environment(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the folder, and starts.
    #[track_caller]
    pub fn start(self) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("host");
        let mut init = Command::new(places::program());
        init.arg("init").arg(&home).arg("--components").arg(places::components());
        init.args(["--listen", "127.0.0.1:0"]);
        if !self.tls {
            init.arg("--plain-http");
        }
        run(&mut init);
        if let Some(policy) = &self.policy {
            std::fs::write(home.join("policy.cedar"), policy).unwrap();
        }
        let metrics = free_port();
        let file = home.join("holdfast.toml");
        let mut config: Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let cache = places::cache();
        table(&mut config, "components").insert("cache".into(), cache.to_str().unwrap().into());
        let mut listen = Table::new();
        listen.insert("listen".into(), format!("127.0.0.1:{metrics}").into());
        config.insert("metrics".into(), listen.into());
        key_store(&mut config, 0).insert("rate_limit".into(), 0.into());
        for (name, prefix) in &self.key_stores {
            let mut store = key_store(&mut config, 0).clone();
            store.insert("name".into(), name.as_str().into());
            store.insert("uri_path_prefix".into(), prefix.as_str().into());
            config["key_store"].as_array_mut().unwrap().push(store.into());
        }
        let limits = table(&mut config, "server").entry("limits").or_insert_with(|| Table::new().into());
        limits.as_table_mut().unwrap().insert("budget".into(), AMPLE_BUDGET.into());
        for edit in self.edits {
            edit(&mut config, &home);
        }
        std::fs::write(&file, config.to_string()).unwrap();

        let holdfast = |arguments: &[&str]| {
            run(Command::new(places::program()).args(arguments).arg("--config").arg(&file))
        };
        for (id, usage, disabled) in &self.keys {
            holdfast(&["key", "create", id, "--usage", usage, "--key-store", "demo"]);
            if *disabled {
                holdfast(&["key", "disable", id, "--key-store", "demo"]);
            }
        }
        let demo = std::fs::read(home.join("demo-credential.json")).unwrap();
        let mut credentials = vec![("demo".to_owned(), Credential::of_kms_config(&demo))];
        for (name, _) in &self.key_stores {
            let json = holdfast(&["credential", "create", "--key-store", name]);
            credentials.push((name.clone(), Credential::of_kms_config(json.as_bytes())));
            holdfast(&["key", "create", &format!("{name}-key"), "--key-store", name]);
        }
        Host::serve(folder, home, self.tls, metrics, credentials, self.environment, self.spin)
    }
}

/// `config.NAME`, which must be there.
fn table<'a>(config: &'a mut Table, name: &str) -> &'a mut Table {
    config.get_mut(name).and_then(Value::as_table_mut).unwrap_or_else(|| panic!("no [{name}]"))
}

fn key_store(config: &mut Table, index: usize) -> &mut Table {
    config["key_store"].as_array_mut().unwrap()[index].as_table_mut().unwrap()
}

/// Runs a command that must succeed; its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
