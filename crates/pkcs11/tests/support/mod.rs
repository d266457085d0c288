//! SoftHSM2 tokens for tests. A process has one SOFTHSM2_CONF, so the tokens of a test program are made at once.

#![allow(dead_code)]

use holdfast_pkcs11::module::{KeyTemplate, Module};
use holdfast_pkcs11::{HsmSettings, Isolation, TokenSelector};
use holdfast_secret::Secret;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The PIN of every token.
pub const PIN: &str = "12345678";

/// SoftHSM2's module, if there is one: `HOLDFAST_SOFTHSM2`, or where distributions put it.
pub fn softhsm2() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_SOFTHSM2").map(PathBuf::from);
    let usual = [
        "/usr/lib/softhsm",
        "/usr/lib/x86_64-linux-gnu/softhsm",
        "/usr/lib64/pkcs11",
        "/usr/local/lib/softhsm",
    ];
    let found = named.into_iter().chain(usual.iter().map(|folder| Path::new(folder).join("libsofthsm2.so")));
    found.into_iter().find(|path| path.exists())
}

/// A folder of tokens.
pub struct Tokens {
    folder: tempfile::TempDir,
}

impl Tokens {
    /// Makes tokens with these labels.
    pub fn create(labels: &[&str]) -> Tokens {
        let tokens = Tokens { folder: tempfile::tempdir().unwrap() };
        let folder = tokens.folder.path().join("tokens");
        std::fs::create_dir(&folder).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            folder.display()
        );
        std::fs::write(tokens.conf(), conf).unwrap();
        for label in labels {
            tokens.add(label);
        }
        tokens
    }

    /// Makes one more token. A module that is initialised already doesn't see it.
    pub fn add(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN])
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .unwrap();
        assert!(made.status.success(), "softhsm2-util: {made:?}");
    }

    /// The configuration's path, for SOFTHSM2_CONF.
    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    /// A folder beside the tokens.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The tokens of this process: made at the first call, and SOFTHSM2_CONF set to them. None, and a line that says so, where
/// there is no SoftHSM2.
pub fn process_tokens(labels: &[&str]) -> Option<(&'static Tokens, PathBuf)> {
    static TOKENS: OnceLock<Tokens> = OnceLock::new();
    let Some(module) = softhsm2() else {
        println!("skipped: no SoftHSM2 module was found; install softhsm2, or name it in HOLDFAST_SOFTHSM2");
        return None;
    };
    let tokens = TOKENS.get_or_init(|| {
        let tokens = Tokens::create(labels);
        // SAFETY: no other thread of this process reads the environment before this returns: the module is loaded after.
        unsafe { std::env::set_var("SOFTHSM2_CONF", tokens.conf()) };
        tokens
    });
    Some((tokens, module))
}

/// An HSM in threads, with a test key.
pub fn in_threads(name: &str, token: &str, module: &Path) -> HsmSettings {
    let pin = Arc::new(|| Ok(Secret::copy_from(PIN.as_bytes())));
    HsmSettings {
        isolation: Isolation::Threads { replaced_at_most: 4 },
        create_test_key: true,
        sessions: 8,
        ..HsmSettings::new(name, module, TokenSelector::Label(token.into()), pin)
    }
}

/// Makes a key on a token, from this process.
pub fn create_key(module: &Path, token: &str, label: &str) {
    let module = Module::load(module, true).unwrap();
    let slots = module.slots().unwrap();
    let slot = slots.into_iter().find(|slot| module.token_info(*slot).unwrap().label == token).unwrap();
    let session = module.open_session(slot, true).unwrap();
    // Another session may be logged in already.
    let _ = module.login(session, &Secret::copy_from(PIN.as_bytes()));
    module.create_aes_key(session, &KeyTemplate { label, encrypt: true, decrypt: true }).unwrap();
    module.close_session(session).unwrap();
}

/// The framing of the specification.
pub fn frame(aad: &[u8], metadata: &[u8]) -> Vec<u8> {
    let aad_len = u16::try_from(aad.len()).unwrap().to_be_bytes();
    [&aad_len, aad, &[u8::try_from(metadata.len()).unwrap()], metadata].concat()
}

/// In good time.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
