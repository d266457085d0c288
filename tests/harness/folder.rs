//! The program, run in a folder of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{cache, components, program};

/// A folder that goes when the test is over.
pub struct Folder(tempfile::TempDir);

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    /// What it printed, having succeeded.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// What it printed, however it ended.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// That it ended so, and gave this reason.
    #[track_caller]
    pub fn refused(self, code: i32, reason: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.contains(reason), "wanted {reason:?}: {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Folder {
    /// With nothing in it but files called like components, in `wasm`: `init` copies them and looks into none.
    pub fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("wasm")).unwrap();
        for name in ["sigv4", "proxy", "policy-cedar"] {
            std::fs::write(folder.path().join(format!("wasm/{name}.wasm")), name).unwrap();
        }
        Folder(folder)
    }

    /// With what `init` makes in `demo`.
    pub fn with_demo() -> Folder {
        let folder = Folder::new();
        folder.run(["init", "demo", "--components", "wasm"]).done();
        folder
    }

    /// With the example `examples/policies/NAME` copied to `NAME`.
    pub fn with_policy(name: &str) -> Folder {
        let folder = Folder::new();
        std::fs::create_dir(folder.path(name)).unwrap();
        for entry in std::fs::read_dir(policy_examples().join(name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path(name).join(path.file_name().unwrap())).unwrap();
        }
        folder
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file's text.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Changes a file's text, which must be there.
    #[track_caller]
    pub fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// The program, which looks for its configuration in `demo`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.0.path()).stdin(Stdio::null()).env_remove("HOLDFAST_PASSPHRASE");
        command.env("HOLDFAST_CONFIG", "demo/holdfast.toml");
        command
    }

    /// The program with these arguments, run.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.command().args(arguments).output().unwrap().into()
    }

    /// The words of `line`, run.
    pub fn holdfast(&self, line: &str) -> Ran {
        self.run(line.split_whitespace())
    }

    /// The words of `line`, run; JSON is expected.
    #[track_caller]
    pub fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.holdfast(line).done()).unwrap()
    }

    /// Runs `holdfast policy WORDS` with the real components.
    pub fn policy(&self, words: &str) -> Ran {
        let mut command = self.command();
        command.arg("policy").args(words.split_whitespace());
        command.env("HOLDFAST_COMPONENTS", components()).env("XDG_CACHE_HOME", cache());
        command.output().unwrap().into()
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

/// The policies of the documentation.
pub fn policy_examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies")
}
