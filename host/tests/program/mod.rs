//! Runs the real binary in a folder of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub struct Folder(tempfile::TempDir);

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    #[track_caller]
    pub fn refused(self, code: i32, reason: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.contains(reason), "wanted {reason:?}: {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
    }
}

#[allow(dead_code, reason = "each test file uses its part")]
impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("wasm")).unwrap();
        for name in ["sigv4", "proxy", "policy-cedar"] {
            // What init copies; it looks into none.
            std::fs::write(folder.path().join(format!("wasm/{name}.wasm")), name).unwrap();
        }
        Self(folder)
    }

    /// A folder with what `init` makes in `demo`.
    pub fn with_demo() -> Self {
        let folder = Self::new();
        folder.run(["init", "demo", "--components", "wasm"]).done();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.current_dir(self.0.path()).stdin(Stdio::null()).env_remove("HOLDFAST_PASSPHRASE");
        command.env("HOLDFAST_CONFIG", "demo/holdfast.toml");
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        ran(self.command().args(arguments).output().unwrap())
    }

    /// The words of `line`, run.
    pub fn holdfast(&self, line: &str) -> Ran {
        self.run(line.split_whitespace())
    }

    pub fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.holdfast(line).done()).unwrap()
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
