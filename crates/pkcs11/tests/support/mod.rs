//! SoftHSM2 tokens for tests. A process has one SOFTHSM2_CONF, so the tokens of a test program are made at once.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The PIN of every token.
pub const PIN: &str = "12345678";

/// SoftHSM2's module, if there is one: `HOLDFAST_SOFTHSM2`, or where distributions put it.
pub fn softhsm2() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_SOFTHSM2").map(PathBuf::from);
    let usual = ["/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib64/pkcs11", "/usr/local/lib/softhsm"];
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
        let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", folder.display());
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
